"""What is looked for along solutions: functions of the state, and their Taylor series."""

from __future__ import annotations

from hamilforge.gen.derive.integrators.vector_field import VectorField
from hamilforge.gen.program.integrators.build_taylor import build_series
from hamilforge.gen.program.integrators.integrator import Event
from hamilforge.gen.program.integrators.series import TIME, SeriesProgram
from hamilforge.gen.program.straight import straight

#: What to do about an event with a kink.
KINK = (
    "an event is, in other words, a function of it: declare what changes sign, or give "
    "hf.integrate a Python function"
)


def build_events(field: VectorField) -> tuple[tuple[Event, ...], SeriesProgram | None]:
    """The events of a problem.

    Args:
        field: the problem's.

    Returns:
        Each event with its function; and operations on series, from those of the components to
        those of all events, None where there are no events.
    """
    components = tuple(map(str, field.components))
    inputs = (TIME, *components, *map(str, field.parameters))
    events = tuple(
        Event(
            event.name,
            event.direction,
            event.terminal,
            straight(event.name, inputs, {f"event__{event.name}": value}),
        )
        for event, value in field.events
    )
    if not events:
        return (), None
    values = {f"event__{event.name}": value for event, value in field.events}
    function = straight("events", inputs, values)
    where = field.problem.head.source.where
    return events, build_series(function, components, where, KINK)
