//! Random scripts: whatever comes in whichever order, generations are owned once and nothing that
//! was acknowledged is lost.

use super::*;

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn random_request(rng: &mut fastrand::Rng, generation: i32, n: u64) -> Request {
    let id = IDS[rng.usize(..IDS.len())];
    let generation = generation - i32::from(rng.u8(..8) == 0);
    match rng.u8(..8) {
        0 => Request::Join(join("", &format!("{id}{n}"))),
        1 => Request::Join(named(id, &format!("{id}{n}"))),
        2 => Request::Join(Join { require_known_member_id: true, ..join("", &format!("{id}{n}")) }),
        3 => Request::Join(join(id, "")),
        4 => Request::Heartbeat(identity(generation, id)),
        5 => commit(generation, id, n as i64),
        6 => Request::Leave(vec![Leaver {
            member_id: Arc::from(""),
            group_instance_id: Some(Arc::from(id)),
        }]),
        _ => sync(generation, id, &[]),
    }
}

/// Hundreds of scripts. A third of the steps is a sync of everybody who is there, so that
/// rebalances end too.
///
/// Checked after each step: the invariants of a group; that a generation has one leader and its
/// number only grows; and at the end that what comes back from the log is what was visible.
#[test]
fn random_scripts_keep_one_leader_a_generation_and_lose_no_offset() {
    for seed in 0..300 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        let mut leaders: BTreeMap<i32, Arc<str>> = BTreeMap::new();
        let mut newest = 0;
        for n in 0..120 {
            world.holds = rng.bool();
            let generation = world.state.groups().next().map_or(0, |(_, g)| g.generation_id());
            if rng.u8(..3) == 0 {
                let ids: Vec<_> = world
                    .state
                    .groups()
                    .flat_map(|(_, group)| group.members())
                    .map(|member| member.member_id.to_string())
                    .collect();
                for id in ids {
                    world.send(sync(generation, &id, &[(&id, &id)]));
                }
            } else {
                world.send(random_request(&mut rng, generation, n));
            }
            if rng.bool() {
                for id in std::mem::take(&mut world.held) {
                    world.apply(Event::Appended { id, result: Ok(()) });
                }
            }
            if rng.u8(..4) == 0 {
                world.pass(Duration::from_millis(rng.u64(..8_000)));
            }
            for reply in std::mem::take(&mut world.replies).into_values() {
                let Reply::Join(reply) = reply else { continue };
                if reply.error != ErrorCode::None || reply.members.is_empty() {
                    continue;
                }
                assert!(reply.generation_id >= newest, "seed {seed}: generations only grow");
                newest = reply.generation_id;
                let leader = leaders.entry(newest).or_insert_with(|| Arc::clone(&reply.leader));
                if !reply.skip_assignment {
                    assert_eq!(*leader, reply.leader, "seed {seed}: one leader a generation");
                }
            }
        }
        world.holds = false;
        for id in std::mem::take(&mut world.held) {
            world.apply(Event::Appended { id, result: Ok(()) });
        }
        let again = reloaded(&world);
        for (id, group) in world.state.groups() {
            let offsets: Vec<_> = group.offsets().collect();
            let found = again.groups().find(|(other, _)| *other == id).map(|(_, group)| group);
            let found: Vec<_> = found.into_iter().flat_map(Group::offsets).collect();
            assert_eq!(found, offsets, "seed {seed}");
        }
    }
}
