//! A controller of clusters that only keeps up their members: it makes files, Services and sets, and restarts nothing.

use std::sync::Arc;
use std::time::Duration;

use kube::{Api, ResourceExt as _};
use operator::admin::pool::Pool;
use operator::apply::Pass;
use operator::cluster::build::config_map::config_map;
use operator::cluster::build::service::services;
use operator::cluster::build::stateful_set::stateful_set;
use operator::cluster::names::Names;
use operator::cluster::objects::Objects;
use operator::cluster::upkeep::{Upkeep, consider};
use operator::cluster::validate::{Images, Surroundings, Valid, validate};
use operator::cluster::volumes::keep_sizes;
use operator::controller::{self, Done};
use operator::crd::cluster::Cluster;
use operator::crd::cluster::status::Member;
use operator::error::Error;
use operator::kind::Kind;
use operator::session::Plug;

/// Makes the controller.
pub(crate) fn controller(pool: Arc<Pool>) -> Plug {
    let reconcile: controller::Reconcile<Cluster> = Arc::new(move |cluster, pass| {
        let pool = Arc::clone(&pool);
        Box::pin(async move { look(&pool, &cluster, &pass).await })
    });
    controller::plug(Kind::Cluster, reconcile, None)
}

async fn look(pool: &Arc<Pool>, cluster: &Cluster, pass: &Pass) -> Result<Done, Error> {
    let names =
        Names { cluster: cluster.name_any(), namespace: cluster.namespace().unwrap_or_default() };
    let api: Api<Cluster> = Api::namespaced(pass.client().clone(), &names.namespace);
    let read = api.get(&names.cluster).await;
    let cluster = read.map_err(|error| Error::of_api("read", names.cluster.clone(), error))?;
    let brokers = pool.brokers(&cluster);
    let objects = Objects::read(pass.client(), &names, &cluster.spec).await?;
    let upkeep = consider(pass.client(), &brokers, &names, &cluster, objects, Ok(())).await?;
    let mut status = cluster.status.clone().unwrap_or_default();
    let before = status.clone();
    upkeep.note(&mut status);
    let member = |id: &i32| Member { id: *id, ..Member::default() };
    status.members = upkeep.present.iter().map(member).collect();
    pass.status(&cluster, &status).await?;
    for tale in upkeep.tales(&before) {
        pass.tell(tale).await;
    }
    make(pass, &valid(&cluster, &names, &upkeep), &upkeep).await?;
    let has_acted = upkeep.carry_out(pass, &brokers, &names, &cluster).await?;
    if upkeep.members.drains_after() != status.drains {
        upkeep.note_after(&mut status);
        let written = api.get(&names.cluster).await;
        let now = written.map_err(|error| Error::of_api("read", names.cluster.clone(), error))?;
        pass.status(&now, &status).await?;
    }
    let is_converged = !has_acted && !upkeep.goes_on();
    Ok(Done { is_converged, again: Some(Duration::from_secs(2)) })
}

fn valid(cluster: &Cluster, names: &Names, upkeep: &Upkeep) -> Valid {
    let images = Images { broker: "ottla/broker".to_owned(), zookeeper: "zookeeper".to_owned() };
    let around = Surroundings {
        outside: upkeep.outside.clone(),
        present: upkeep.present.clone(),
        ..Surroundings::default()
    };
    let uid = cluster.uid().unwrap();
    validate(names.clone(), uid, cluster.spec.clone(), &images, &around).unwrap()
}

async fn make(pass: &Pass, valid: &Valid, upkeep: &Upkeep) -> Result<(), Error> {
    let api = Api::namespaced(pass.client().clone(), &valid.names.namespace);
    let map = api.get_opt(&valid.names.config()).await;
    let map = map.map_err(|error| Error::of_api("read", valid.names.config(), error))?;
    pass.apply(&config_map(valid), map.as_ref()).await?;
    for service in services(valid) {
        let live = upkeep.objects.services.get(&service.name_any());
        pass.apply(&service, live).await?;
    }
    for id in &valid.broker_ids {
        let live = upkeep.objects.sets.get(id);
        let Some(mut set) = stateful_set(valid, *id).unwrap() else { continue };
        if let Some(live) = live {
            if live.metadata.deletion_timestamp.is_some() {
                continue;
            }
            keep_sizes(&mut set, live);
        }
        pass.apply(&set, live).await?;
    }
    Ok(())
}
