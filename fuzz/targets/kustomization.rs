#![no_main]

#[path = "../src/kustomization.rs"]
mod kustomization;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kustomization::kustomization(bytes));
