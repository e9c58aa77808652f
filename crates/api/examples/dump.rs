//! Writes every definition as JSON into the directory named by the first argument.
fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    for (file, crd) in sluice_api::crd::crds() {
        std::fs::write(format!("{folder}/{file}"), crd.to_string())?;
    }
    Ok(())
}
