#![no_main]

#[path = "../src/yaml.rs"]
mod yaml;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| yaml::yaml(bytes));
