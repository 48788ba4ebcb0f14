"""Networks: layers forwards and back, objectives, costs."""
