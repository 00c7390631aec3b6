//! How the rest of this broker reaches the controller, if the controller is here.
//!
//! One handle for the life of the process; the controller that is in office attaches its inbox and
//! detaches it when it resigns. A question that is asked of nobody is answered with `None`: the
//! caller says NOT_CONTROLLER.
//!
//! The inbox is bounded: who asks waits, and with it the connection that the question came through.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot};

use super::election_counts::Elections;
use super::state::Summary;
use super::state::request::{Reply, Request};

/// Questions that wait for the controller; each holds a request of one broker or one client.
const INBOX: usize = 1_024;

/// What comes to a controller from its own process.
#[derive(Debug)]
pub(crate) enum Mail {
    /// A question, and where its answer goes; a controller that resigns drops it.
    Ask(Request, oneshot::Sender<Reply>),
    /// The settings of a topic may differ.
    TopicConfig(String),
    /// The settings of brokers may differ.
    BrokerConfig,
    /// How the cluster is, in numbers.
    Summary(oneshot::Sender<Summary>),
}

impl Mail {
    /// Whether somebody still waits for what is asked: of a connection that has ended meanwhile nobody does.
    pub(crate) fn is_wanted(&self) -> bool {
        match self {
            Self::Ask(_, reply) => !reply.is_closed(),
            Self::Summary(reply) => !reply.is_closed(),
            Self::TopicConfig(_) | Self::BrokerConfig => true,
        }
    }
}

/// The way to the controller of this process. Shared.
#[derive(Debug, Default)]
pub struct ControllerHandle {
    inbox: ArcSwapOption<mpsc::Sender<Mail>>,
    /// What was elected here.
    pub elections: Elections,
}

impl ControllerHandle {
    /// Takes office: returns where mail comes in. The one before gets no more.
    pub(crate) fn attach(&self) -> mpsc::Receiver<Mail> {
        let (inbox, mail) = mpsc::channel(INBOX);
        self.inbox.store(Some(Arc::new(inbox)));
        mail
    }

    /// Leaves office.
    pub(crate) fn detach(&self) {
        self.inbox.store(None);
    }

    /// Returns whether the controller is here.
    pub fn is_active(&self) -> bool {
        self.inbox.load().is_some()
    }

    /// Asks the controller; `None` if it is not here, or resigned before it answered. What was
    /// asked may have been done all the same.
    pub(crate) async fn ask(&self, request: Request) -> Option<Reply> {
        let (reply, answer) = oneshot::channel();
        self.tell(Mail::Ask(request, reply)).await?;
        answer.await.ok()
    }

    /// Returns how the cluster is; `None` if the controller is not here.
    pub(crate) async fn summary(&self) -> Option<Summary> {
        let (reply, answer) = oneshot::channel();
        self.tell(Mail::Summary(reply)).await?;
        answer.await.ok()
    }

    /// Brings mail to the controller; `None` if it is not here.
    pub(crate) async fn tell(&self, mail: Mail) -> Option<()> {
        let inbox = self.inbox.load_full()?;
        inbox.send(mail).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_not_wanted() {
        let handle = ControllerHandle::default();
        let mut mail = handle.attach();
        for gives_up in [false, true] {
            let asking = handle.summary();
            tokio::pin!(asking);
            let asked = tokio::select! {
                biased;
                _ = &mut asking => None,
                asked = mail.recv() => asked,
            };
            if gives_up {
                asking.set(handle.summary());
            }
            assert_eq!(asked.map(|asked| asked.is_wanted()), Some(!gives_up));
        }
    }
}
