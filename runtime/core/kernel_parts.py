"""Functions that only kernels call are kept as LLVM's text, and compiled as parts of kernels.

numba optimises each function with all that it calls, makes machine code of it, and does both again
for whatever calls it: with five levels, what is at the bottom is compiled five times.  A part is
typed and lowered once.  The kernel that Python calls takes up the text of all its parts, and is
optimised and made machine code as a whole.

``njit(pipeline_class=KernelPart)``, for functions without an entry from Python or C.  A call from
Python would end the process, and there is no code to inspect.  Parts may call themselves, but not
each other in a circle; of two that one factory has made, only one may be cached.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.typed_passes import IRLegalization


class PartLibrary(JITCodeLibrary):
    """The text of a part and of the parts that it calls; machine code of its globals alone."""

    def _optimize_final_module(self) -> None:
        """Left to the kernels that take it up."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        variables = self._variables()
        self._finalized = True
        self._get_module_for_linking()  # kept by numba: what calls this part takes it up
        self._final_module = variables
        super()._finalize_final_module()

    def _variables(self) -> llvm.ModuleRef:
        """A module of those variables that numba sets when a function has been compiled."""
        module, pointer = self.create_ir_module(self.name), ir.IntType(8).as_pointer()
        for variable in self._final_module.global_variables:
            if variable.linkage == llvm.Linkage.common:
                own = ir.GlobalVariable(module, pointer, variable.name)
                own.linkage, own.initializer = "common", ir.Constant(pointer, None)
        return llvm.parse_assembly(str(module))


@register_pass(mutates_CFG=False, analysis_only=True)
class _KeptAsText(AnalysisPass):
    """Let the code of a function without an entry from Python go to a library of parts."""

    _name = "hamilforge_kept_as_text"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        if not (state.flags.no_cpython_wrapper and state.flags.no_cfunc_wrapper):
            name = state.func_id.func_name
            raise ValueError(f"{name} is no part: it has an entry from Python or C")
        state.library = PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return False


class KernelPart(CompilerBase):
    """How numba compiles a function that only kernels call."""

    def define_pipelines(self) -> list[Any]:
        """The passes of numba, with one before code is made."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_KeptAsText, IRLegalization)
        passes.finalize()
        return [passes]
