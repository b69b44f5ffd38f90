//! The page's engine: a pack in, lanes that answer out. Typed values cross the boundary; no arithmetic happens here.
//!
//! JavaScript pulls: `startTurn`, then `step` until it says why the answer ended. To stop is not to ask again.
#![cfg(target_family = "wasm")]

mod adapter;
mod boundary;
mod engine;
mod look;

use wasm_bindgen::prelude::wasm_bindgen;

#[allow(unsafe_code)]
mod constructors {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }

    /// Runs the static constructors of the crates below once.
    pub(super) fn run() {
        // SAFETY: the linker makes this function, it takes nothing and gives nothing, and `start` runs once. Without
        // a caller in sight the linker would wrap every export in one that runs all constructors again, on every
        // call: the page would be hundreds of times slower.
        unsafe { __wasm_call_ctors() };
    }
}

/// Runs once, when the module is instantiated.
#[wasm_bindgen(start)]
pub fn start() {
    constructors::run();
    console_error_panic_hook::set_once();
}
