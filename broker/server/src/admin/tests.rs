//! The port before the broker's parts are there, and what its clients may take.

use std::time::Duration;

use broker_admin::v1::admin_client::AdminClient;
use broker_admin::v1::{
    GetIdentityRequest, Phase as PhaseCode, ReleaseRestartPermitRequest, WatchHealthRequest,
};
use broker_config::raw::Properties;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;

use super::*;
use crate::clock::SystemClock;
use crate::metrics::health::Phase;

/// How an HTTP/2 connection begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Port {
    stage: Arc<Stage>,
    tasks: Tasks,
    server: Server,
}

async fn start(limits: Limits) -> Port {
    let (stage, tasks) = (Arc::<Stage>::default(), Tasks::new());
    let config = BrokerConfig::from_properties(&Properties::default()).unwrap();
    let clock = Arc::new(SystemClock);
    let (told, address) = (Arc::clone(&stage), ("127.0.0.1", 0));
    let process_id = "a process".to_owned();
    let server =
        Server::start_with(limits, address, config, process_id, told, clock, &tasks).await.unwrap();
    Port { stage, tasks, server }
}

impl Port {
    async fn client(&self) -> AdminClient<Channel> {
        AdminClient::connect(format!("http://{}", self.server.address)).await.unwrap()
    }
}

/// A broker that starts says how far it has come, changes nothing, and says at the end that it stops.
#[tokio::test]
async fn a_broker_that_starts_says_how_far_it_has_come() {
    let port = start(Limits::DEFAULT).await;
    port.stage.enter(Phase::RecoveringLogs);
    port.stage.has_loaded("/a".as_ref(), 3, 9);
    let mut client = port.client().await;
    let identity = client.get_identity(GetIdentityRequest {}).await.unwrap().into_inner();
    assert_eq!((identity.broker_epoch, &*identity.process_id), (-1, "a process"));

    let mut watched = client.watch_health(WatchHealthRequest {}).await.unwrap().into_inner();
    let health = watched.message().await.unwrap().unwrap();
    assert_eq!(health.phase(), PhaseCode::RecoveringLogs);
    assert_eq!((health.logs_loaded, health.logs_total, health.registered), (3, 9, false));
    let fence = Some(Fence { term: 1, holder: "an operator".to_owned() });
    let release = ReleaseRestartPermitRequest { fence, broker_id: 1 };
    let refused = client.release_restart_permit(release).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("loading logs"), "{refused}");

    port.stage.enter(Phase::Stopping);
    port.tasks.shutdown();
    let mut last = health;
    while let Some(health) = watched.message().await.unwrap() {
        last = health;
    }
    assert_eq!(last.phase(), PhaseCode::Stopping);
    assert_eq!(port.tasks.drain("admin", LINGER).await, 0);
}

/// Who calls nothing is closed, however far it has come with that.
#[tokio::test]
async fn who_calls_nothing_is_closed() {
    let first_call = Duration::from_millis(50);
    let port = start(Limits { first_call, ..Limits::DEFAULT }).await;
    let settings: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
    for sent in [b"", &PREFACE[..7], &[PREFACE, settings].concat()] {
        let mut stream = TcpStream::connect(port.server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        // A reset is an end as well.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
    let mut client = port.client().await;
    client.get_identity(GetIdentityRequest {}).await.unwrap();
    port.tasks.shutdown();
}

/// A connection above the cap is closed; those below go on.
#[tokio::test]
async fn there_are_so_many_connections() {
    let port = start(Limits { connections: 1, ..Limits::DEFAULT }).await;
    let mut client = port.client().await;
    client.get_identity(GetIdentityRequest {}).await.unwrap();
    let mut second = TcpStream::connect(port.server.address).await.unwrap();
    let read = second.read_to_end(&mut Vec::new()).await;
    assert!(read.is_ok_and(|read| read == 0));
    client.get_identity(GetIdentityRequest {}).await.unwrap();
    port.tasks.shutdown();
}
