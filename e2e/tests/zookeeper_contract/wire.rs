//! A wire to a server, which a test can cut, mend, and stop in one direction.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    AnswersHeld,
    Cut,
}

/// A listener whose connections end at a server. It ends with the runtime of its test.
#[derive(Debug)]
pub(crate) struct Wire {
    address: String,
    server: Arc<Mutex<String>>,
    state: Arc<watch::Sender<State>>,
}

impl Wire {
    /// Opens a wire to `server`.
    pub(crate) async fn open(server: &str) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let server = Arc::new(Mutex::new(server.to_owned()));
        let (ends_at, states) = (server.clone(), state.clone());
        spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A cut wire takes connections and drops them, as a server that goes down does.
                if *states.borrow() == State::Cut {
                    continue;
                }
                let server = ends_at.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Ok(server) = TcpStream::connect(&server).await {
                    join(client, server, &states);
                }
            }
        });
        Ok(Self { address, server, state })
    }

    /// Lets new connections end at `server`.
    pub(crate) fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.server.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Where it begins.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Closes every connection, and every new one.
    pub(crate) fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Lets new connections live; those that were cut stay so.
    pub(crate) fn mend(&self) {
        self.state.send_replace(State::Whole);
    }

    /// Keeps what the server says from here on.
    pub(crate) fn hold_answers(&self) {
        self.state.send_replace(State::AnswersHeld);
    }
}

#[allow(clippy::disallowed_methods, reason = "it ends with the runtime of its test")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

fn join(client: TcpStream, server: TcpStream, states: &watch::Sender<State>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    spawn(copy(from_client, to_server, states.subscribe(), false));
    spawn(copy(from_server, to_client, states.subscribe(), true));
}

/// Copies until either end closes or the wire is cut; a cut that is mended at once is seen too,
/// since every change of state is one.
async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut states: watch::Receiver<State>,
    is_answer: bool,
) {
    let mut bytes = vec![0; 0x1_0000];
    let mut state = *states.borrow_and_update();
    loop {
        tokio::select! {
            biased;
            changed = states.changed() => {
                let before = state;
                state = *states.borrow_and_update();
                // From held or cut there is no way back for a connection.
                if changed.is_err() || state == State::Cut || before == State::AnswersHeld {
                    return;
                }
                if state == before {
                    return;
                }
            }
            read = from.read(&mut bytes), if !(is_answer && state == State::AnswersHeld) => {
                let length = match read {
                    Ok(0) | Err(_) => return,
                    Ok(length) => length,
                };
                if to.write_all(&bytes[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
