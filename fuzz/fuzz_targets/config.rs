//! Model configurations of any bytes: no panic, and what was accepted is something that can be laid
//! out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openledger_engine::{LoraConfig, ModelConfig};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(config) = ModelConfig::parse(bytes) {
        assert!(config.validate().is_ok(), "what is parsed is valid");
        assert!(config.num_params() > 0 && LoraConfig::all_linear(1).num_params(&config) > 0);
        let again = ModelConfig::parse(config.to_json().to_string().as_bytes()).expect("what was written can be read");
        assert_eq!(again, config);
    }
});
