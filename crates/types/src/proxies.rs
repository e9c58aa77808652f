use core::net::{IpAddr, Ipv6Addr};
use std::fmt;
use std::sync::Arc;

use url::Url;

/// Which address is reached through which proxy: what `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say, read as Go
/// reads them. By default none is. Cheap to clone.
///
/// Loopback and `localhost` are always reached directly. So is, beyond Go, what only the own machine can reach: there
/// clouds hand out credentials, and over plain HTTP.
#[derive(Clone, Default)]
pub struct Proxies(Arc<Rules>);

#[derive(Default)]
struct Rules {
    http: Option<String>,
    https: Option<String>,
    everything_directly: bool,
    directly: Vec<Exception>,
}

/// An entry of `NO_PROXY`.
enum Exception {
    Network {
        address: IpAddr,
        bits: u8,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// With a leading dot; `itself` is false for one that was written with it.
    Domain {
        suffix: String,
        itself: bool,
        port: Option<u16>,
    },
}

/// The name under which one cloud hides its link-local address.
const METADATA: &str = "metadata.google.internal";

impl Proxies {
    /// Reads the variables, in capitals or small letters, by `variable`.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let either = |name: &str| {
            [name.to_owned(), name.to_ascii_lowercase()]
                .iter()
                .find_map(|name| variable(name).filter(|value| !value.is_empty()))
        };
        let mut rules = Rules {
            // A web server sets it from a header of the request.
            http: either("HTTP_PROXY").filter(|_| variable("REQUEST_METHOD").is_none()).and_then(address),
            https: either("HTTPS_PROXY").and_then(address),
            ..Rules::default()
        };
        let exceptions = either("NO_PROXY").unwrap_or_default().to_lowercase();
        let entries = exceptions.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for entry in entries {
            if entry == "*" {
                rules.everything_directly = true;
            }
            rules.directly.extend(Exception::read(entry));
        }
        Self(Arc::new(rules))
    }

    /// The proxy to an address, as a URL that may hold credentials; `None` to reach it directly.
    pub fn to(&self, url: &Url) -> Option<&str> {
        let proxy = match url.scheme() {
            "http" => self.0.http.as_deref()?,
            "https" => self.0.https.as_deref()?,
            _ => return None,
        };
        let (host, port) = (url.host_str()?, url.port_or_known_default()?);
        let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let direct = self.0.everything_directly
            || host == "localhost"
            || host == METADATA
            || ip.is_some_and(is_own)
            || self.0.directly.iter().any(|entry| entry.covers(host, ip, port));
        (!direct).then_some(proxy)
    }
}

impl fmt::Debug for Proxies {
    /// Addresses may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rules { http, https, .. } = &*self.0;
        f.debug_struct("Proxies").field("http", &http.is_some()).field("https", &https.is_some()).finish()
    }
}

impl Exception {
    /// `None` for what can cover nothing.
    fn read(entry: &str) -> Option<Self> {
        if let Some((address, bits)) = entry.split_once('/')
            && let (Ok(address), Ok(bits)) = (address.parse(), bits.parse())
            && bits <= width(address)
        {
            return Some(Self::Network { address, bits });
        }
        let (host, port) = with_port(entry);
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = host.parse() {
            return Some(Self::Address { address, port });
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        match host.strip_prefix('.') {
            _ if host.is_empty() => None,
            Some(_) => Some(Self::Domain { suffix: host.to_owned(), itself: false, port }),
            None => Some(Self::Domain { suffix: format!(".{host}"), itself: true, port }),
        }
    }

    fn covers(&self, host: &str, ip: Option<IpAddr>, at: u16) -> bool {
        let on = |port: &Option<u16>| port.is_none_or(|port| port == at);
        match self {
            Self::Network { address, bits } => ip.is_some_and(|ip| shares(*address, ip, *bits)),
            Self::Address { address, port } => ip.map(canonical) == Some(canonical(*address)) && on(port),
            Self::Domain { suffix, itself, port } => {
                (host.ends_with(suffix.as_str()) || *itself && suffix.strip_prefix('.') == Some(host))
                    && on(port)
            }
        }
    }
}

/// The proxy's address, with a scheme; `None` for none that could be used.
fn address(text: String) -> Option<String> {
    let known = ["http://", "https://", "socks5://", "socks5h://"];
    if known.iter().any(|scheme| text.starts_with(scheme)) {
        return Some(text);
    }
    (!text.contains("://")).then(|| format!("http://{text}"))
}

/// Splits off a port; an IPv6 address without brackets has none.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (entry, None),
        },
        _ => (entry, None),
    }
}

fn is_own(ip: IpAddr) -> bool {
    match canonical(ip) {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

/// An IPv4 address may be written as an IPv6 one.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

const fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

fn shares(network: IpAddr, ip: IpAddr, bits: u8) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(Ipv6Addr::from(ip.octets())),
    };
    let (network, ip) = (canonical(network), canonical(ip));
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or_default();
    width(network) == width(ip) && number(network) & mask == number(ip) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Proxies::read(|name| value(name).map(|(_, value)| (*value).to_owned()))
    }

    /// The address that is asked for, and whether it is reached through the proxy.
    #[test]
    fn exceptions_are_those_of_go() {
        let https = |exceptions: &str, address: &str| {
            let proxies = proxies(&[("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", exceptions)]);
            proxies.to(&format!("https://{address}/").parse().unwrap()).is_some()
        };
        for (exceptions, address, proxied) in [
            ("", "git.example.com", true),
            ("", "localhost", false),
            ("", "LOCALHOST", false),
            ("", "localhost.example.com", true),
            ("", "127.0.0.1", false),
            ("", "127.9.9.9:6443", false),
            ("", "[::1]:6443", false),
            ("", "[::ffff:127.0.0.1]", false),
            ("", "169.254.169.254", false),
            ("", "[fe80::1]", false),
            ("", "metadata.google.internal", false),
            ("", "10.96.0.1", true),
            ("*", "git.example.com", false),
            ("10.0.0.0/8", "10.96.0.1:443", false),
            ("10.0.0.0/8", "11.0.0.1", true),
            ("10.0.0.0/8", "ten.example.com", true),
            ("10.1.2.3/0", "203.0.113.9", false),
            ("10.1.2.3/0", "[2001:db8::1]", true),
            ("10.0.0.0/33", "10.0.0.1", true),
            ("2001:db8::/32", "[2001:db8::1]", false),
            ("2001:db8::/32", "[2001:db9::1]", true),
            ("10.0.0.1", "10.0.0.1:8443", false),
            ("10.0.0.1:443", "10.0.0.1", false),
            ("10.0.0.1:443", "10.0.0.1:8443", true),
            ("[2001:db8::1]:443", "[2001:db8::1]", false),
            ("2001:db8::1", "[2001:db8::1]", false),
            ("example.com", "example.com", false),
            ("example.com", "git.example.com", false),
            ("example.com", "notexample.com", true),
            (".example.com", "example.com", true),
            (".example.com", "git.example.com", false),
            ("*.example.com", "example.com", true),
            ("*.example.com", "git.example.com", false),
            ("example.com:8443", "git.example.com", true),
            ("example.com:8443", "git.example.com:8443", false),
            ("Example.COM", "GIT.example.com", false),
            (
                ".svc,.cluster.local.,.cluster.local",
                "source-controller.flux-system.svc.cluster.local.",
                false,
            ),
            (" , a.b ,, c.d,", "c.d", false),
            (":443", "git.example.com", true),
            ("<local>,c.d", "c.d", false),
        ] {
            assert_eq!(https(exceptions, address), proxied, "{address} with NO_PROXY={exceptions}");
        }
    }

    #[test]
    fn each_scheme_has_its_proxy_and_names_may_be_small() {
        let (plain, secure): (Url, Url) = ("http://a.b".parse().unwrap(), "https://a.b".parse().unwrap());
        let both = proxies(&[("http_proxy", "plain:1"), ("HTTPS_PROXY", "socks5://u:p@secure:2")]);
        assert_eq!(both.to(&plain), Some("http://plain:1"));
        assert_eq!(both.to(&secure), Some("socks5://u:p@secure:2"));
        assert_eq!(both.to(&"ssh://a.b".parse().unwrap()), None);
        assert!(!format!("{both:?}").contains("u:p"));
        let other = proxies(&[("ALL_PROXY", "http://x"), ("HTTPS_PROXY", "ftp://x"), ("HTTP_PROXY", "")]);
        assert_eq!((other.to(&plain), other.to(&secure)), (None, None));
        let served = proxies(&[("HTTP_PROXY", "http://x"), ("REQUEST_METHOD", "GET")]);
        assert_eq!(served.to(&plain), None);
    }
}
