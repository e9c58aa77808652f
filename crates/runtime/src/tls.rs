//! The one TLS implementation of the process.

/// Makes aws-lc-rs the process-wide provider of cryptography. Harmless to call again.
pub fn install() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only when another thread was faster, with the same provider.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
}
