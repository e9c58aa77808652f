//! Smart HTTP under gix's protocol. Credentials go to the address they were given for and nowhere
//! else: redirects are followed by hand.

use std::io::{self, BufRead, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use gix::protocol::transport::client::blocking_io::http::{
    GetResponse, Http, PostBodyDataKind, PostResponse,
};
use reqwest::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use sluice_types::{Proxies, Redacted};
use url::Url;

use crate::error::Error;
use crate::greeting::{Greeting, Listener};
use crate::remote::{Auth, Proxy, Remote, Tls};
use crate::waiter::Waiter;

const REDIRECTS: usize = 5;
const SERVICE: &str = "git-upload-pack";
/// Servers tell Git from browsers by the prefix.
const USER_AGENT: &str = concat!("git/2.0 (sluice/", env!("CARGO_PKG_VERSION"), ")");

/// Makes a client that trusts `tls` in addition to the system and goes through `proxy` or, without one, through
/// those that the process was told to use.
///
/// Only connections with TLS are kept. Servers that write head and body of an answer apart are common, and
/// on a kept connection each such answer waits for the acknowledgement that our side delays for 40 ms; a new
/// one costs a plain server next to nothing.
pub(crate) fn client(
    tls: &Tls,
    proxy: Option<&Proxy>,
    proxies: &Proxies,
    plain: bool,
) -> Result<Client, Error> {
    let bad = |what: &str| Error::Configuration(what.to_owned());
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(if plain { 0 } else { 4 });
    if let Some(ca) = &tls.ca {
        let certificates = reqwest::Certificate::from_pem_bundle(ca).map_err(|_| bad("CA is not PEM"))?;
        if certificates.is_empty() {
            return Err(bad("CA contains no certificate"));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some((certificate, key)) = &tls.client {
        let pem = [certificate.as_slice(), b"\n", key.expose()].concat();
        let identity = reqwest::Identity::from_pem(&pem)
            .map_err(|_| bad("client certificate and key are not a PEM pair"))?;
        builder = builder.identity(identity);
    }
    let mut setting = match proxy {
        Some(proxy) => reqwest::Proxy::all(&proxy.address).map_err(|_| bad("proxy address is not a URL"))?,
        None => {
            let proxies = proxies.clone();
            reqwest::Proxy::custom(move |url| proxies.to(url).map(str::to_owned))
        }
    };
    if let Some((username, password)) = proxy.and_then(|proxy| proxy.credentials.as_ref()) {
        setting = setting.basic_auth(username, password.expose());
    }
    builder.proxy(setting).build().map_err(|error| bad(&describe(error)))
}

/// A repository behind smart HTTP, as gix's transport drives it.
pub(crate) struct HttpSession {
    client: Client,
    /// The repository, after redirects.
    base: Url,
    /// The address that credentials were given for.
    home: Url,
    credentials: Option<HeaderValue>,
    greeting: Greeting,
    waiter: Waiter,
}

impl HttpSession {
    pub(crate) fn new(
        remote: &Remote,
        client: Client,
        greeting: Greeting,
        waiter: Waiter,
    ) -> Result<Self, Error> {
        Ok(Self {
            client,
            base: remote.url.clone(),
            home: remote.url.clone(),
            credentials: authorization(&remote.auth)?,
            greeting,
            waiter,
        })
    }

    /// Asks for the references, following redirects.
    async fn greet(&mut self) -> Result<Response, Error> {
        let mut url = self.endpoint("info/refs");
        url.set_query(Some(&format!("service={SERVICE}")));
        for _ in 0..=REDIRECTS {
            let request = self.client.get(url.clone()).headers(self.headers(&url));
            let response = request.send().await.map_err(|error| failed(&self.waiter, error))?;
            if !response.status().is_redirection() {
                self.base = self.moved_to(url)?;
                return accept(&self.waiter, response, "advertisement");
            }
            url = self.follow(&url, response.headers())?;
        }
        Err(network(&self.waiter, "too many redirects"))
    }

    fn endpoint(&self, tail: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{tail}", self.base.path().trim_end_matches('/')));
        url
    }

    fn headers(&self, url: &Url) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("git-protocol", HeaderValue::from_static("version=2"));
        if let (Some(credentials), true) = (&self.credentials, self.is_home(url)) {
            headers.insert(header::AUTHORIZATION, credentials.clone());
        }
        headers
    }

    /// The same origin, or its upgrade from http to https on the default ports.
    fn is_home(&self, url: &Url) -> bool {
        let upgrade = self.home.scheme() == "http"
            && url.scheme() == "https"
            && self.home.port().is_none()
            && url.port().is_none()
            && self.home.host() == url.host();
        upgrade || self.home.origin() == url.origin()
    }

    fn follow(&self, from: &Url, headers: &HeaderMap) -> Result<Url, Error> {
        let target = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let mut url = target
            .and_then(|target| from.join(target).ok())
            .ok_or_else(|| network(&self.waiter, "redirect without an address"))?;
        let downgrade = from.scheme() == "https" && url.scheme() != "https";
        if downgrade || !matches!(url.scheme(), "http" | "https") {
            return Err(network(&self.waiter, "redirect to an unsafe address"));
        }
        // Userinfo in a redirect would be the server's choice of credentials.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(url)
    }

    fn moved_to(&self, mut url: Url) -> Result<Url, Error> {
        let path = url
            .path()
            .strip_suffix("/info/refs")
            .map(str::to_owned)
            .ok_or_else(|| network(&self.waiter, "redirect to something that is no git repository"))?;
        url.set_path(&path);
        url.set_query(None);
        Ok(url)
    }
}

impl Http for HttpSession {
    type Headers = Headers;
    type ResponseBody = Body;
    type PostBody = PostBody;

    fn get(
        &mut self,
        _url: &str,
        _base_url: &str,
        _headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::error::Result<GetResponse<Headers, Body>> {
        let waiter = self.waiter.clone();
        let (state, listener, chunk) = match self.greeting.recall() {
            Some((base, text)) => {
                self.base = base;
                (State::Over, None, text)
            }
            None => {
                let response = waiter.wait(self.greet()).and_then(|response| response);
                let response = response.map_err(|error| gix::error::Error::from_error(waiter.fail(error)))?;
                let listener = Listener::new(self.greeting.clone(), self.base.clone());
                (State::Answered(response), Some(listener), Bytes::new())
            }
        };
        let body = Body { exchange: Exchange::shared(state), listener, waiter, chunk };
        Ok(GetResponse { headers: Headers::new("advertisement"), body })
    }

    fn post(
        &mut self,
        _url: &str,
        _base_url: &str,
        _headers: impl IntoIterator<Item = impl AsRef<str>>,
        _kind: PostBodyDataKind,
    ) -> gix::error::Result<PostResponse<Headers, Body, PostBody>> {
        let url = self.endpoint(SERVICE);
        let request = self
            .client
            .post(url.clone())
            .headers(self.headers(&url))
            .header(header::CONTENT_TYPE, format!("application/x-{SERVICE}-request"))
            .header(header::ACCEPT, format!("application/x-{SERVICE}-result"));
        let exchange = Exchange::shared(State::Writing(request, Vec::new()));
        let waiter = self.waiter.clone();
        let body = Body { exchange: exchange.clone(), listener: None, waiter, chunk: Bytes::new() };
        Ok(PostResponse { post_body: PostBody(exchange), headers: Headers::new("result"), body })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::error::Result<()> {
        Ok(())
    }
}

/// One request and its answer. The request is written in full before it is sent, which the first
/// look at the answer does; requests are small.
struct Exchange(State);

enum State {
    Writing(RequestBuilder, Vec<u8>),
    Answered(Response),
    Over,
}

impl Exchange {
    fn shared(state: State) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self(state)))
    }

    fn chunk(&mut self, waiter: &Waiter) -> Result<Bytes, Error> {
        if let State::Writing(..) = self.0
            && let State::Writing(request, body) = std::mem::replace(&mut self.0, State::Over)
        {
            let response = waiter.wait(request.body(body).send())?.map_err(|error| failed(waiter, error))?;
            self.0 = State::Answered(accept(waiter, response, "result")?);
        }
        let State::Answered(response) = &mut self.0 else { return Ok(Bytes::new()) };
        let chunk = waiter.wait(response.chunk())?.map_err(|error| failed(waiter, error))?;
        let chunk = chunk.unwrap_or_default();
        if chunk.is_empty() {
            self.0 = State::Over;
        }
        waiter.spend(chunk.len())?;
        Ok(chunk)
    }
}

impl Drop for Exchange {
    /// Reads what little is left, so that the connection can serve the next request.
    fn drop(&mut self) {
        const LEFT: usize = 64 << 10;
        if let (State::Answered(mut response), Ok(runtime)) =
            (std::mem::replace(&mut self.0, State::Over), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(tokio::time::timeout(Duration::from_secs(1), async move {
                let mut left = LEFT;
                while let Ok(Some(chunk)) = response.chunk().await {
                    match left.checked_sub(chunk.len()) {
                        Some(rest) => left = rest,
                        None => break,
                    }
                }
            }));
        }
    }
}

/// Where a request's body is written to.
pub(crate) struct PostBody(Arc<Mutex<Exchange>>);

impl Write for PostBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0.lock().unwrap_or_else(PoisonError::into_inner).0 {
            State::Writing(_, body) => body.extend_from_slice(bytes),
            State::Answered(_) | State::Over => return Err(io::ErrorKind::BrokenPipe.into()),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer's body as it arrives.
pub(crate) struct Body {
    exchange: Arc<Mutex<Exchange>>,
    listener: Option<Listener>,
    waiter: Waiter,
    chunk: Bytes,
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
            self.chunk = exchange.chunk(&self.waiter).map_err(|error| self.waiter.fail(error))?;
            if self.listener.as_mut().is_some_and(|listener| !listener.hear(&self.chunk)) {
                self.listener = None;
            }
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, count: usize) {
        self.chunk.advance(count.min(self.chunk.len()));
    }
}

impl Read for Body {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

/// The one header that gix looks at; [`accept`] has checked the real one.
pub(crate) struct Headers(Cursor<String>);

impl Headers {
    fn new(what: &str) -> Self {
        Self(Cursor::new(format!("content-type: application/x-{SERVICE}-{what}\n")))
    }
}

impl Read for Headers {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }
}

impl BufRead for Headers {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.0.consume(count);
    }
}

fn accept(waiter: &Waiter, response: Response, what: &str) -> Result<Response, Error> {
    let status = response.status();
    let url = waiter.url();
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Error::Auth { url, detail: format!(": {status}") });
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => return Err(Error::RepositoryNotFound { url }),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let after = response.headers().get(header::RETRY_AFTER);
            let seconds = after.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
            let after = seconds.map(|seconds| Duration::from_secs(seconds.min(3600)));
            return Err(Error::Busy { url, detail: status.to_string(), after });
        }
        _ => return Err(network(waiter, &format!("unexpected status {status}"))),
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind != Some(&format!("application/x-{SERVICE}-{what}")) {
        let detail = "it does not speak the smart HTTP protocol".to_owned();
        return Err(Error::Protocol { url, detail });
    }
    Ok(response)
}

fn network(waiter: &Waiter, detail: &str) -> Error {
    Error::Network { url: waiter.url(), detail: detail.to_owned() }
}

fn failed(waiter: &Waiter, error: reqwest::Error) -> Error {
    let url = waiter.url();
    let (tls, timeout) = (is_tls(&error), error.is_timeout());
    let detail = describe(error);
    match (tls, timeout) {
        (true, _) => Error::Tls { url, detail },
        (_, true) => Error::Timeout { url },
        _ => Error::Network { url, detail },
    }
}

fn authorization(auth: &Auth) -> Result<Option<HeaderValue>, Error> {
    use base64::Engine;
    let text = match auth {
        Auth::None | Auth::Ssh { .. } => return Ok(None),
        Auth::Basic { username, password } => {
            let pair = Redacted::new(format!("{username}:{}", password.expose()));
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair.expose()))
        }
        Auth::Bearer(token) => format!("Bearer {}", token.expose().trim()),
    };
    let mut value = HeaderValue::from_str(&text)
        .map_err(|_| Error::Configuration("credentials contain control characters".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = source {
        if error.is::<rustls::Error>() {
            return true;
        }
        // An IO error's source is its content's source, which would step over the content.
        source = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

/// The innermost causes, without the address, which may carry credentials.
fn describe(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    crate::wire::clip(&text)
}
