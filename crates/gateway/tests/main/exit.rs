//! The end of this program while nodes of its tests still run.
//!
//! The harness ends the program by `exit`, which runs the destructors of shared libraries.
//! RocksDB's threads still work for the chains of nodes that many tests share, and would use memory
//! that those destructors have freed. A node of the product closes its chain before it ends.
#![expect(unsafe_code, reason = "handlers of exit are a matter of the C library")]

use std::ffi::{c_int, c_void};
use std::sync::Once;

unsafe extern "C" {
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    fn _exit(status: c_int) -> !;
}

extern "C" fn at_once(status: c_int, _: *mut c_void) {
    // SAFETY: `_exit` takes any status and does not return.
    unsafe { _exit(status) }
}

/// Ends the program with its exit status and without destructors of libraries, once it ends.
///
/// Handlers run in the reverse order of their registration. Those of libraries were registered when
/// they were loaded, so this one comes before them.
pub(crate) fn without_destructors() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler lives as long as the program, and reads no argument.
        let refused = unsafe { on_exit(at_once, std::ptr::null_mut()) };
        assert_eq!(refused, 0, "the handler of exit was not registered");
    });
}
