//! A client's connection: it carries calls, loses them where the test says so, and dies with the client.

use std::future::pending;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use kube::client::Body;
use tokio::sync::watch;

use super::Fake;
use super::refusal::Refusal;
use super::serve::Answer;
use super::watch::Reply;

/// Which call something happens to; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nth {
    /// Of all calls.
    Call(u64),
    /// Of those that ask for a change.
    Write(u64),
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not arrive.
    Refused,
    /// It is done, and its answer does not come back.
    AnswerLost,
    /// It is not done, and this code is answered.
    Code(u16),
    /// The client is killed before it can send it.
    KilledBefore,
    /// It is done, and the client is killed before it hears of it.
    KilledAfter,
}

/// How a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Up,
    /// Calls do not arrive.
    Cut,
    /// The client is dead: nothing happens any more.
    Dead,
}

/// Is told of each call, before it is done and after it.
pub(crate) type Witness = Box<dyn FnMut() + Send>;

#[derive(Debug)]
struct Progress {
    calls: u64,
    writes: u64,
    faults: Vec<(Nth, Fault)>,
    health: Health,
}

/// The state of a connection.
pub(crate) struct Line {
    pub(crate) id: u64,
    pub(crate) name: String,
    progress: Mutex<Progress>,
    is_dead: watch::Sender<bool>,
    witness: Mutex<Option<Witness>>,
}

impl Line {
    fn lock(&self) -> std::sync::MutexGuard<'_, Progress> {
        self.progress.lock().unwrap()
    }

    fn is_dead(&self) -> bool {
        self.lock().health == Health::Dead
    }

    fn die(&self) {
        self.lock().health = Health::Dead;
        self.is_dead.send_replace(true);
    }

    fn tell(&self) {
        if let Some(witness) = &mut *self.witness.lock().unwrap() {
            witness();
        }
    }

    /// Counts a call to the server; returns what happens to it.
    fn begin(&self, is_write: bool) -> Option<Fault> {
        let is_cut = self.lock().health == Health::Cut;
        if is_cut { Some(Fault::Refused) } else { self.count(is_write) }
    }

    /// Counts a call to whomever; returns what happens to it.
    fn count(&self, is_write: bool) -> Option<Fault> {
        let mut progress = self.lock();
        if progress.health == Health::Dead {
            return Some(Fault::KilledBefore);
        }
        progress.calls += 1;
        progress.writes += u64::from(is_write);
        let hit = |(nth, _): &&(Nth, Fault)| match *nth {
            Nth::Call(number) => number == progress.calls,
            Nth::Write(number) => is_write && number == progress.writes,
        };
        progress.faults.iter().find(hit).map(|(_, fault)| *fault)
    }
}

/// One client's way to the server.
#[derive(Clone)]
pub(crate) struct Connection {
    fake: Fake,
    line: Arc<Line>,
}

impl Connection {
    pub(super) fn new(fake: Fake, id: u64, name: &str) -> Self {
        let progress = Progress { calls: 0, writes: 0, faults: Vec::new(), health: Health::Up };
        let line = Line {
            id,
            name: name.to_owned(),
            progress: Mutex::new(progress),
            is_dead: watch::Sender::new(false),
            witness: Mutex::default(),
        };
        Self { fake, line: Arc::new(line) }
    }

    /// Returns a client; all clients of a connection share its fate.
    pub(crate) fn client(&self) -> kube::Client {
        let connection = self.clone();
        let carry = move |request| carry(connection.clone(), request);
        kube::Client::new(tower::service_fn(carry), "default")
    }

    /// Lets `fault` happen to the call `nth`.
    pub(crate) fn plan(&self, nth: Nth, fault: Fault) {
        self.line.lock().faults.push((nth, fault));
    }

    /// Kills the client: what it still asks is not done, and nothing is answered.
    pub(crate) fn kill(&self) {
        self.line.die();
        self.fake.with(|state| state.watches.close(self.line.id));
    }

    /// Returns once the client is killed; then the test drops what ran in it.
    pub(crate) async fn killed(&self) {
        let mut is_dead = self.line.is_dead.subscribe();
        let _ = is_dead.wait_for(|is_dead| *is_dead).await;
    }

    /// Whether the client was killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.line.is_dead()
    }

    /// Cuts the client off from the server: its calls fail, its watches hear nothing.
    pub(crate) fn cut(&self) {
        self.line.lock().health = Health::Cut;
        self.hold_watches(true);
    }

    /// Ends [`Self::cut`]; watches go on where they were.
    pub(crate) fn mend(&self) {
        self.line.lock().health = Health::Up;
        self.hold_watches(false);
    }

    /// Holds back what watches tell, so that the client's caches are stale; or tells it all.
    pub(crate) fn hold_watches(&self, is_held: bool) {
        self.fake.with(|state| state.watches.hold(self.line.id, is_held));
    }

    /// Ends the client's watches, as a restart of the server does.
    pub(crate) fn close_watches(&self) {
        self.fake.with(|state| state.watches.close(self.line.id));
    }

    /// Has `witness` see each call from now on, before it is done and after it; it is called without a lock.
    pub(crate) fn witness(&self, witness: Option<Witness>) {
        *self.line.witness.lock().unwrap() = witness;
    }

    /// Says that a call to somebody else than the server was done.
    pub(crate) fn end(&self) {
        self.line.tell();
    }

    /// Counts a call to somebody else than the server, and says what happens to it: calls of one client have one order,
    /// whoever is called. Who carries it does what the fault says. A client that is cut off from the server is not from
    /// others.
    pub(crate) fn begin(&self, is_write: bool) -> Option<Fault> {
        self.line.tell();
        self.line.count(is_write)
    }

    /// Returns what the client is called, and the server.
    pub(crate) fn ends(&self) -> (&str, &Fake) {
        (&self.line.name, &self.fake)
    }

    /// Returns how many calls were made so far.
    pub(crate) fn calls(&self) -> u64 {
        self.line.lock().calls
    }

    /// Returns how many calls asked for a change so far.
    pub(crate) fn writes(&self) -> u64 {
        self.line.lock().writes
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Carries one request to the server, and its answer back.
async fn carry(connection: Connection, request: Request<Body>) -> Result<Response<Reply>, Failure> {
    let Connection { fake, line } = connection;
    let (head, body) = request.into_parts();
    let body = body.collect_bytes().await?;
    fake.travel().await;
    line.tell();
    let fault = line.begin(head.method != Method::GET);
    if fault == Some(Fault::KilledBefore) {
        line.die();
        return pending().await;
    }
    let answer = fake.receive(&line, &head, &body, fault);
    line.tell();
    if fault == Some(Fault::KilledAfter) {
        line.die();
        fake.with(|state| state.watches.close(line.id));
    }
    if line.is_dead() {
        return pending().await;
    }
    let lost = match fault {
        Some(Fault::Refused) => Some(io::ErrorKind::ConnectionRefused),
        Some(Fault::AnswerLost) => Some(io::ErrorKind::ConnectionReset),
        Some(Fault::Code(_) | Fault::KilledBefore | Fault::KilledAfter) | None => None,
    };
    if let Some(kind) = lost {
        return Err(io::Error::from(kind).into());
    }
    fake.travel().await;
    if line.is_dead() {
        return pending().await;
    }
    Ok(respond(&fake, line, &head, answer))
}

fn respond(
    fake: &Fake,
    line: Arc<Line>,
    head: &Parts,
    answer: Result<Answer, Refusal>,
) -> Response<Reply> {
    let (code, body) = match answer {
        Ok(Answer::Object(code, object)) => (code, Reply::whole(&object)),
        Ok(Answer::Watch(scope)) => {
            let query = super::request::parameters(head.uri.query().unwrap_or_default());
            let parameter = |name: &str| query.get(name).map_or("", String::as_str);
            let sends_initial = parameter("sendInitialEvents") == "true";
            let receiver = fake.with(|state| {
                let version = parameter("resourceVersion");
                state.watches.open(line.id, *scope, version, sends_initial, &state.store)
            });
            let timeout = parameter("timeoutSeconds").parse().unwrap_or(1_800);
            let is_dead = move || line.is_dead();
            (200, Reply::events(receiver, Duration::from_secs(timeout), is_dead))
        }
        Err(refusal) => (refusal.code, Reply::whole(&refusal.status())),
    };
    let response = Response::builder().status(code).header("content-type", "application/json");
    response.body(body).unwrap()
}
