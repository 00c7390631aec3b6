//! What a store and the tasks behind it share. Only the store keeps it alive.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use zookeeper_client as zk;

use super::Connection;
use super::connect::Target;
use super::convert::MayPass;
use super::hub::Hub;
use crate::observer::Observer;
use crate::store::StoreError;

/// How long a server is left alone that has too much to do.
const PAUSE: Duration = Duration::from_millis(200);

/// What requests of the session go through.
#[derive(Debug)]
enum Line {
    /// The client of the session.
    Client(zk::Client),
    /// The client has given up; another takes the session over, or hears that it is over.
    Between,
    /// The session is over.
    Over,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) target: Target,
    pub(super) session: zk::SessionInfo,
    line: watch::Sender<Line>,
    connection: watch::Sender<Connection>,
    observer: Arc<dyn Observer>,
    hub: Mutex<Hub>,
    /// Held while a lasting watch is set: two at once could leave the lesser one.
    pub(super) setting: tokio::sync::Mutex<()>,
}

impl Inner {
    pub(super) fn new(client: zk::Client, target: Target, observer: Arc<dyn Observer>) -> Self {
        Self {
            target,
            session: client.session().clone(),
            line: watch::Sender::new(Line::Client(client)),
            connection: watch::Sender::new(Connection::Connected),
            observer,
            hub: Mutex::default(),
            setting: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for what a request gives, and tells how long it took. A server that has too much to do is then
    /// left alone for a while. Cancel-safe if `request` is.
    pub(super) async fn timed<T, E: MayPass>(
        &self,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let sent = self.observer.sent();
        let answer = request.await;
        if let Some(sent) = sent {
            self.observer.answered(sent);
        }
        match &answer {
            Err(error) if error.is_throttled() => tokio::time::sleep(PAUSE).await,
            // A client that has given up answers at once: who asks again must let others run meanwhile.
            Err(_) => tokio::task::yield_now().await,
            Ok(_) => {}
        }
        answer
    }

    /// Is told that a server refused the credentials.
    pub(super) fn refused(&self) {
        self.observer.refused();
    }

    /// Locks the hub; nobody waits while it is locked.
    pub(super) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how much longer the server's paths are.
    pub(super) fn chroot_length(&self) -> usize {
        if self.target.chroot == "/" { 0 } else { self.target.chroot.len() }
    }

    /// Returns the client, once there is one. Cancel-safe.
    pub(super) async fn client(&self) -> Result<zk::Client, StoreError> {
        let mut line = self.line.subscribe();
        loop {
            match &*line.borrow_and_update() {
                Line::Client(client) => return Ok(client.clone()),
                Line::Over => return Err(StoreError::SessionExpired),
                Line::Between => {}
            }
            line.changed().await.map_err(|_| StoreError::SessionExpired)?;
        }
    }

    /// Returns the client, if there is one.
    pub(super) fn client_now(&self) -> Option<zk::Client> {
        match &*self.line.borrow() {
            Line::Client(client) => Some(client.clone()),
            Line::Between | Line::Over => None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(*self.line.borrow(), Line::Over)
    }

    /// Takes the client away that has given up, unless the session is over.
    pub(super) fn lose_client(&self) {
        self.replace(Line::Between);
        self.say(Connection::Disconnected);
    }

    /// Lets requests through to the session's next client, unless the session is over.
    pub(super) fn put_client(&self, client: zk::Client) {
        self.replace(Line::Client(client));
        self.say(Connection::Connected);
    }

    /// Says whether there is a connection, unless the session is over.
    pub(super) fn say(&self, now: Connection) {
        let is_news = self.connection.send_if_modified(|before| {
            let is_news = *before != now && *before != Connection::Expired;
            if is_news {
                *before = now;
            }
            is_news
        });
        match now {
            _ if !is_news => {}
            Connection::Connected => self.observer.connected(),
            Connection::Disconnected => self.observer.disconnected(),
            Connection::Expired => {}
        }
    }

    fn replace(&self, next: Line) {
        self.line.send_if_modified(|line| {
            let goes_on = !matches!(line, Line::Over);
            if goes_on {
                *line = next;
            }
            goes_on
        });
    }

    /// Ends the session: every request and every watch is told.
    pub(super) fn end(&self) {
        self.line.send_replace(Line::Over);
        self.connection.send_replace(Connection::Expired);
        self.hub().end();
    }

    pub(super) fn connections(&self) -> watch::Receiver<Connection> {
        self.connection.subscribe()
    }
}
