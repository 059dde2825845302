//! Requests: one exchange with its redirects, and the policy of further attempts around it.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ureq::Agent;
use ureq::http::header::{HeaderName, HeaderValue};
use ureq::http::{self, HeaderMap};
use ureq::tls::{RootCerts, TlsConfig};

use crate::LocationError;
use crate::address::Address;
use crate::clock::Clock;
use crate::environment::{Environment, certificates, silence};
use crate::request::{Answer, Ask, Trouble, judge};
use crate::retry::{FAILURES, Gates, PATIENCE, asked_to_wait, backoff};

/// Redirects followed for one request. Hubs need two; browsers stop at twenty.
const REDIRECTS: usize = 10;

/// The longest list or page that is read, in bytes. The hub's pages of 1,000 files have some 300 kB.
const PAGE: u64 = 64 << 20;

/// What went over the network since the start.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    bytes: AtomicU64,
    retries: AtomicU64,
}

impl Traffic {
    /// Requests sent, redirects included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes of bodies that came.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Failures that were met with another attempt.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// Sends requests. Shared by all threads, which respect one another's limits.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    clock: Arc<dyn Clock>,
    gates: Gates,
    silence: Duration,
    traffic: Traffic,
}

impl Client {
    /// A client for the timeout and the certificates that an environment names.
    ///
    /// # Errors
    /// Certificates that are named and can't be read.
    pub(crate) fn new(
        environment: &Environment,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LocationError> {
        let silence = silence(environment);
        let mut tls = TlsConfig::builder();
        if let Some(certificates) = certificates(environment)? {
            tls = tls.root_certs(RootCerts::from(certificates));
        }
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("evenburn/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(silence))
            .timeout_connect(Some(silence))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .build();
        Ok(Self {
            agent: config.new_agent(),
            clock,
            gates: Gates::default(),
            silence,
            traffic: Traffic::default(),
        })
    }

    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// One attempt. Redirects are followed by hand: what proves who asks goes to the origin that was asked first, and after
    /// a redirect to another never again. `reached` is the address that was asked last.
    pub(crate) fn exchange(&self, ask: &Ask, reached: &mut Address) -> Result<Answer, Trouble> {
        let mut address = ask.address.clone();
        let mut trusted = true;
        for _ in 0..=REDIRECTS {
            trusted &= address.origin() == ask.address.origin();
            reached.clone_from(&address);
            let response = self.send(ask, &address, trusted)?;
            let status = response.status();
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let (parts, body) = response.into_parts();
                return Ok(Answer {
                    status: status.as_u16(),
                    headers: parts.headers,
                    body: body.into_with_config().limit(u64::MAX).reader(),
                    address,
                });
            }
            address = next(ask, &address, response.headers())?;
        }
        let why = format!("gave up after {REDIRECTS} redirects; the last led to {address}");
        Err(LocationError::redirects(&ask.place, why).into())
    }

    fn send(
        &self,
        ask: &Ask,
        address: &Address,
        trusted: bool,
    ) -> Result<http::Response<ureq::Body>, Trouble> {
        let mut headers = HeaderMap::new();
        // Compressed text has no length and no ranges.
        let identity = ("accept-encoding", "identity".to_owned());
        let proof = if trusted {
            ask.access.headers(&ask.method, address, &*self.clock)
        } else {
            Vec::new()
        };
        for (name, value) in ask.headers.iter().chain([&identity]).chain(&proof) {
            let mut value = HeaderValue::from_str(value).map_err(|_| {
                let why = "what proves who asks holds letters that no header takes";
                LocationError::denied(&ask.place, why)
            })?;
            value.set_sensitive(*name == "authorization");
            headers.insert(HeaderName::from_static(name), value);
        }
        let to = if trusted {
            ask.access.address(address)
        } else {
            address.clone()
        };
        let mut request = http::Request::builder()
            .method(ask.method.clone())
            .uri(to.with_secrets());
        if let Some(all) = request.headers_mut() {
            *all = headers;
        }
        let quota = quota(address);
        let too_long = |wait: Duration| {
            let why = format!("the server asks to wait {} seconds", wait.as_secs());
            Trouble::from(LocationError::unavailable(&ask.place, why))
        };
        self.gates.pass(&quota, &*self.clock).map_err(too_long)?;
        self.traffic.requests.fetch_add(1, Ordering::Relaxed);
        let unsendable = |_| LocationError::not_found(&ask.place, "its address can't be asked");
        let sent = match &ask.body {
            Some(body) => self
                .agent
                .run(request.body(body.as_slice()).map_err(unsendable)?),
            None => self.agent.run(request.body(()).map_err(unsendable)?),
        };
        let response = sent.map_err(|e| self.trouble(ask, address, e))?;
        if let Some(wait) =
            asked_to_wait(response.status().as_u16(), response.headers(), &*self.clock)
        {
            self.gates.close(&quota, wait, &*self.clock);
            // A good answer is of use, whatever comes after it.
            if wait > PATIENCE && response.status().as_u16() >= 400 {
                return Err(too_long(wait));
            }
        }
        Ok(response)
    }

    /// What a request that got no answer means.
    fn trouble(&self, ask: &Ask, address: &Address, error: ureq::Error) -> Trouble {
        let host = address.authority();
        let lasting = |why: String| LocationError::unavailable(&ask.place, why).into();
        match error {
            ureq::Error::Io(e) => Trouble::Passing(format!("{host}: {}", self.words(&e))),
            ureq::Error::Timeout(_) => {
                let seconds = self.silence.as_secs_f64();
                Trouble::Passing(format!("{host} was silent for {seconds} s"))
            }
            ureq::Error::HostNotFound => Trouble::Passing(format!("no host is called {host}")),
            ureq::Error::Rustls(e) => lasting(format!("no secure connection to {host}: {e}")),
            ureq::Error::Tls(e) => lasting(format!("no secure connection to {host}: {e}")),
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                LocationError::not_found(&ask.place, "its address can't be asked").into()
            }
            ureq::Error::InvalidProxyUrl => lasting("the proxy's address is malformed".to_owned()),
            ureq::Error::ConnectProxyFailed(_) => {
                Trouble::Passing(format!("the proxy makes no connection to {host}"))
            }
            ureq::Error::LargeResponseHeader(..) => {
                lasting(format!("{host} answers with headers that have no end"))
            }
            _ => Trouble::Passing(format!("{host} gives no proper answer")),
        }
    }

    /// What reading a body failed with, in words without addresses.
    pub(crate) fn words(&self, error: &io::Error) -> String {
        let silent = || format!("it was silent for {} s", self.silence.as_secs_f64());
        let inner = error.get_ref().and_then(|e| e.downcast_ref());
        if let Some(ureq::Error::Timeout(_)) = inner {
            return silent();
        }
        match error.kind() {
            ErrorKind::TimedOut | ErrorKind::WouldBlock => silent(),
            ErrorKind::UnexpectedEof => "the connection was closed too early".to_owned(),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                "the connection was reset".to_owned()
            }
            ErrorKind::ConnectionRefused => "it takes no connections".to_owned(),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
                "it can't be reached".to_owned()
            }
            kind => format!("the connection failed ({kind})"),
        }
    }

    /// Attempts until one succeeds, one fails for good, or there were too many in a row that failed. `attempt` says whether
    /// it came further than those before, which starts the count again.
    pub(crate) fn persist<T>(
        &self,
        place: &str,
        mut attempt: impl FnMut(&mut bool) -> Result<T, Trouble>,
    ) -> Result<T, LocationError> {
        let mut failures = 0;
        loop {
            let mut further = false;
            let why = match attempt(&mut further) {
                Ok(done) => return Ok(done),
                Err(Trouble::Lasting(error)) => return Err(error),
                Err(Trouble::Passing(why)) => why,
            };
            failures = if further { 1 } else { failures + 1 };
            if failures >= FAILURES {
                let why = format!(
                    "gave up after {failures} failures in a row; the last: {why}. Try again later"
                );
                return Err(LocationError::unavailable(place, why));
            }
            self.traffic.retries.fetch_add(1, Ordering::Relaxed);
            self.clock.sleep(backoff(failures));
        }
    }

    /// What `read` finds in an answer. One that it finds nothing in (a web page of a network that wants a login, an error
    /// with status 200) is asked for again, and is a [`LocationError::BadListing`] in the end.
    pub(crate) fn list<T>(
        &self,
        ask: &Ask,
        read: impl Fn(&Answer, &[u8]) -> Result<T, String>,
    ) -> Result<T, LocationError> {
        let mut no_list = None;
        let listed = self.persist(&ask.place, |_| {
            no_list = None;
            let answer = self.exchange(ask, &mut ask.address.clone())?;
            let mut answer = judge(ask, answer)?;
            let mut page = Vec::new();
            let read_all = (&mut answer.body).take(PAGE + 1).read_to_end(&mut page);
            self.traffic.received(page.len());
            let found = match read_all {
                Err(e) => return Err(Trouble::Passing(self.words(&e))),
                Ok(_) if page.len() as u64 > PAGE => Err("it has no end".to_owned()),
                Ok(_) => read(&answer, &page),
            };
            found.map_err(|why| {
                no_list = Some(why.clone());
                Trouble::Passing(why)
            })
        });
        listed.map_err(|error| match no_list {
            Some(why) => LocationError::bad_listing(
                &ask.place,
                format!("the server answers, but not with a list: {why}. Does a proxy or a login stand in between?"),
            ),
            None => error,
        })
    }
}

/// Where a redirect leads.
fn next(ask: &Ask, from: &Address, headers: &HeaderMap) -> Result<Address, LocationError> {
    let fault = |why: String| LocationError::redirects(&ask.place, why);
    if let Some(region) = headers.get("x-amz-bucket-region") {
        let region = region.to_str().unwrap_or_default();
        return Err(fault(format!(
            "the bucket lies in another region: set AWS_REGION={region}"
        )));
    }
    let to = headers.get("location").and_then(|to| to.to_str().ok());
    let to = to.ok_or_else(|| fault(format!("{from} redirects to nowhere")))?;
    let to = from
        .join(to)
        .map_err(|why| fault(format!("a redirect of {from} can't be followed: {why}")))?;
    if from.is_secure() && !to.is_secure() {
        return Err(fault(format!(
            "{from} redirects to an address without encryption, {to}"
        )));
    }
    Ok(to)
}

/// The hub counts requests for files and all others apart; so does whoever waits for a quota.
fn quota(address: &Address) -> String {
    let path = address.path();
    let files = path.contains("/resolve/") || path.contains("/resolve-cache/");
    let which = if files { "files" } else { "others" };
    format!("{} {which}", address.origin())
}
