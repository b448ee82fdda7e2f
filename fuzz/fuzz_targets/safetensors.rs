//! Weight files of any bytes: no panic, and nothing is accepted that is larger than the file could
//! hold.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_engine::tensor_shapes;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(shapes) = tensor_shapes(bytes) {
        let values: usize = shapes.values().map(|shape| shape.iter().product::<usize>()).sum();
        // Two bytes are the least that a value takes.
        assert!(2 * values <= bytes.len(), "{values} values in {} bytes", bytes.len());
    }
});
