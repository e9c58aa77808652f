//! Ports for processes that are told where to listen.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below the ports that Linux gives to outgoing connections and to whoever asks for any port (32768 and above):
/// one of those may be taken between the question and the use.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

static TAKEN: AtomicU16 = AtomicU16::new(0);

/// A port on loopback that nobody listens on, and that this process has not given out before.
///
/// # Errors
/// All of them are in use.
pub fn free_port() -> Result<u16> {
    let count = u32::from(PORTS.end - PORTS.start);
    // Processes that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..count {
        let step = u32::from(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(begin.wrapping_add(step) % count)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from {} to {} is free", PORTS.start, PORTS.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_given_out_once_and_not_while_it_is_in_use() {
        let first = free_port().unwrap();
        let _used = TcpListener::bind(("127.0.0.1", first + 1));
        let second = free_port().unwrap();
        assert!(PORTS.contains(&first) && PORTS.contains(&second));
        assert!(second != first && second != first + 1);
    }
}
