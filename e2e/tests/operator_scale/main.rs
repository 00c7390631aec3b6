//! More brokers, fewer, and others, under a load that judges: data is moved there and away, and nothing is lost.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::deadline::Stopwatch;
use e2e::kubernetes::ottla::load::Load;
use e2e::kubernetes::ottla::{Ottla, builds};

const NAMESPACE: &str = "shop";
const OBJECT: &str = "cluster/orders";

/// How long brokers may take to come or go with their data.
const SECONDS: u64 = 300;

const TOPIC: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Topic
metadata: { name: events, namespace: shop }
spec: { cluster: orders, partitions: 12, replicas: 3, config: { min.insync.replicas: \"2\" } }
";

#[test]
fn brokers_come_and_go_and_nothing_is_lost() -> Result<()> {
    let this = builds::this()?;
    let load = Path::new(env!("CARGO_BIN_EXE_load"));
    let ottla = Ottla::start("scale", 3, std::slice::from_ref(&this), load)?;
    let operator = ottla.install(&this, 1)?;
    ottla.namespace(NAMESPACE)?;
    ottla.tools(NAMESPACE)?;
    spec(&ottla, 3, "[]")?;
    ottla.kubernetes.apply(TOPIC)?;
    ottla.is_ready(NAMESPACE, "topic/events", SECONDS)?;
    ottla.is_settled(NAMESPACE, OBJECT, SECONDS)?;
    let order = "--bootstrap orders:9092 --topic events:12 --rate 200";
    let load = Load::start(&ottla, NAMESPACE, "load", order)?;
    // The first by `kubectl scale`. The operator is killed once the cluster gives the reason that a step names.
    let steps: [(&str, u8, &str, &[u8], Option<&str>); 5] = [
        ("3 become 5", 5, "[]", &[0, 1, 2, 3, 4], None),
        ("5 become 3", 3, "[]", &[0, 1, 2], Some("BrokerLeaving")),
        ("3 become 5 again", 5, "[]", &[0, 1, 2, 3, 4], Some("Rebalancing")),
        ("broker 1 is removed", 4, "[1]", &[0, 2, 3, 4], None),
        ("4 become 3", 3, "[1]", &[0, 2, 3], None),
    ];
    for (what, brokers, removed, expected, killed_at) in steps {
        println!("== {what}");
        let time = Stopwatch::start();
        if removed == "[]" && killed_at.is_none() {
            let scale = ["scale", OBJECT, "-n", NAMESPACE, &format!("--replicas={brokers}")];
            ottla.kubernetes.kubectl(&scale)?;
        } else {
            spec(&ottla, brokers, removed)?;
        }
        if let Some(reason) = killed_at {
            ottla.has_reason(NAMESPACE, OBJECT, ("Progressing", reason), SECONDS)?;
            ottla.kill(&operator)?;
        }
        come_to_be(&ottla, expected).context(what)?;
        load.part(what)?;
        println!("FIGURE {:.1} s  {what}", time.elapsed().as_secs_f64());
    }
    too_few_is_refused(&ottla)?;
    load.finish()?;
    ottla.end()
}

fn spec(ottla: &Ottla, brokers: u8, removed: &str) -> Result<()> {
    let manifest = format!(
        "apiVersion: ottla.dev/v1alpha1\nkind: Cluster\nmetadata: {{ name: orders, namespace: {NAMESPACE} }}\n\
         spec:\n  version: {}\n  brokers: {brokers}\n  removed: {removed}\n  \
         zookeeper: {{ managed: {{ replicas: 1, volume: {{ size: 1Gi }} }} }}\n  \
         storage: {{ volumes: [{{ size: 1Gi }}], onDelete: Delete }}\n",
        builds::THIS
    );
    // `kubectl scale` owns what it has changed.
    let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    ottla.kubernetes.kubectl_within(60, &apply, &manifest).map(drop)
}

/// Waits until these brokers serve, no others are there, and each of them has something to hold.
fn come_to_be(ottla: &Ottla, ids: &[u8]) -> Result<()> {
    let names: Vec<String> = ids.iter().map(|id| format!("orders-{id}-0")).collect();
    ottla.wait_for(NAMESPACE, OBJECT, "its brokers", SECONDS, |_| {
        let pods = ottla.brokers(NAMESPACE, "orders")?;
        let all_ready = pods.iter().all(|pod| pod.ready && !pod.leaving);
        Ok((all_ready && pods.iter().map(|pod| &pod.name).eq(&names)).then_some(()))
    })?;
    ottla.is_settled(NAMESPACE, OBJECT, SECONDS)?;
    ottla.is_settled(NAMESPACE, "topic/events", SECONDS)?;
    // Brokers hear of it from their controller, one after the other.
    ottla.kubernetes.wait("all of them to hold something, and nobody else", 30, || {
        let holders = holders(ottla)?;
        ensure!(holders.iter().eq(ids), "{ids:?} are to hold what {holders:?} hold");
        Ok(Some(()))
    })?;
    let claims = ottla.kubernetes.kubectl(&["get", "pvc", "-n", NAMESPACE, "-o", "name"])?;
    let of_brokers =
        claims.lines().filter(|line| line.contains("/data-orders-") && !line.contains("zookeeper"));
    ensure!(
        of_brokers.count() == ids.len(),
        "volumes of brokers that have gone are left:\n{claims}"
    );
    Ok(())
}

/// Who has replicas of the topic, as clients are told.
fn holders(ottla: &Ottla) -> Result<BTreeSet<u8>> {
    let listed = ottla.sh(NAMESPACE, "kcat -b orders:9092 -L -t events")?;
    let mut holders = BTreeSet::new();
    for line in listed.lines() {
        let Some((_, after)) = line.split_once("replicas: ") else { continue };
        let replicas = after.split(", isrs").next().unwrap_or_default();
        holders.extend(replicas.split(',').filter_map(|id| id.trim().parse::<u8>().ok()));
    }
    Ok(holders)
}

/// Two brokers cannot hold three replicas: nothing is taken away, and the status says why.
fn too_few_is_refused(ottla: &Ottla) -> Result<()> {
    spec(ottla, 2, "[1]")?;
    ottla.wait_for(NAMESPACE, OBJECT, "the refusal", SECONDS, |object| {
        let status = object["status"].to_string();
        Ok(status.contains("events").then_some(()))
    })?;
    let pods = ottla.brokers(NAMESPACE, "orders")?;
    ensure!(pods.len() == 3 && pods.iter().all(|pod| pod.ready), "{pods:?}");
    spec(ottla, 3, "[1]")?;
    come_to_be(ottla, &[0, 2, 3])
}
