//! Rebalances that do not go the straight way: in two phases, with members that fall silent, stay
//! away, leave half-way.

use super::*;

/// What a cooperative consumer says: the topic `t`, and the partitions of it that it still has.
fn cooperative(owned: &[u8]) -> Arc<[u8]> {
    let mut metadata = b"\0\x01\0\0\0\x01\0\x01t\xff\xff\xff\xff\0\0\0\x01\0\x01t".to_vec();
    metadata.extend((owned.len() as u32).to_be_bytes());
    metadata.extend(owned.iter().flat_map(|partition| [0, 0, 0, *partition]));
    metadata.into()
}

fn cooperative_join(member_id: &str, new_member_id: &str, owned: &[u8]) -> Request {
    let name = Arc::from("cooperative-sticky");
    let protocols = vec![Protocol { name, metadata: cooperative(owned) }];
    Request::Join(Join { protocols, ..join(member_id, new_member_id) })
}

fn assert_synced(world: &mut World, generation: i32, assignments: &[(&str, &str)]) {
    let leader = world.group().leader_or_empty();
    let tokens: Vec<_> = assignments
        .iter()
        .map(|(id, _)| {
            let own = if **id == *leader { assignments } else { &[] };
            world.send(sync(generation, id, own))
        })
        .collect();
    for ((id, assignment), token) in assignments.iter().zip(tokens) {
        let reply = world.synced(token);
        assert_eq!(
            (reply.error, &*reply.assignment),
            (ErrorCode::None, assignment.as_bytes()),
            "{id}"
        );
    }
}

/// First the one who has too much gives it up and goes on with the rest, then it is given away
/// (KIP-429). Between the phases members work and commit.
#[test]
fn a_cooperative_group_rebalances_in_two_phases() {
    let mut world = World::new();
    let first = world.send(cooperative_join("", "a", &[]));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.joined(first).generation_id, 1);
    assert_synced(&mut world, 1, &[("a", "0 1")]);

    let second = world.send(cooperative_join("", "b", &[]));
    assert_eq!(
        world.ask(Request::Heartbeat(identity(1, "a"))),
        code(ErrorCode::RebalanceInProgress)
    );
    assert_eq!(world.ask(commit(1, "a", 5)), codes(&[ErrorCode::None]), "it still has both");
    let again = world.send(cooperative_join("a", "", &[0, 1]));
    let leader = world.joined(again);
    assert_eq!((leader.generation_id, &*leader.leader), (2, "a"));
    let told: Vec<_> = leader.members.iter().map(|m| (&*m.member_id, &*m.metadata)).collect();
    assert_eq!(told, [("a", &*cooperative(&[0, 1])), ("b", &*cooperative(&[]))]);
    assert_eq!(world.joined(second).generation_id, 2);
    let early = Reply::Codes(Err(ErrorCode::RebalanceInProgress));
    assert_eq!(world.ask(commit(2, "a", 6)), early, "it must sync first");
    assert_synced(&mut world, 2, &[("a", "0"), ("b", "")]);
    assert_eq!(world.ask(commit(2, "a", 6)), codes(&[ErrorCode::None]));

    let again = world.send(cooperative_join("a", "", &[0]));
    assert_eq!(
        world.ask(Request::Heartbeat(identity(2, "b"))),
        code(ErrorCode::RebalanceInProgress)
    );
    assert_eq!(world.ask(commit(2, "b", 7)), codes(&[ErrorCode::None]), "it goes on meanwhile");
    let second = world.send(cooperative_join("b", "", &[]));
    assert_eq!(
        [world.joined(again), world.joined(second)].map(|reply| reply.generation_id),
        [3, 3]
    );
    assert_synced(&mut world, 3, &[("a", "0"), ("b", "1")]);
    assert_eq!(world.ask(Request::Heartbeat(identity(3, "b"))), code(ErrorCode::None));
}

#[test]
fn only_a_follower_that_comes_back_unchanged_needs_no_rebalance() {
    let mut world = World::new();
    stable(&mut world, &["a", "b"]);
    let token = world.send(Request::Join(join("b", "")));
    assert_eq!((world.joined(token).generation_id, world.group().state()), (1, GroupState::Stable));

    let mut changed = join("b", "");
    changed.protocols.truncate(1);
    let token = world.send(Request::Join(changed));
    assert_eq!(world.group().state(), GroupState::PreparingRebalance);
    let leader = world.send(Request::Join(join("a", "")));
    let generations = [token, leader].map(|token| world.joined(token).generation_id);
    assert_eq!(generations, [2, 2]);
    assert_synced(&mut world, 2, &[("a", "x"), ("b", "y")]);

    let token = world.send(Request::Join(join("a", "")));
    assert_eq!(world.taken(token), None, "a leader wants a new assignment");
    assert_eq!(world.group().state(), GroupState::PreparingRebalance);
}

/// Those who wait for the answer to their join send no heartbeats and are not missed.
#[test]
fn a_session_that_ends_while_the_group_rebalances_ends_the_wait() {
    let mut world = World::new();
    stable(&mut world, &["a", "b"]);
    let third = world.send(Request::Join(join("", "c")));
    let first = world.send(Request::Join(join("a", "")));
    world.pass(Duration::from_secs(9));
    assert_eq!(world.taken(third), None, "b may still come");
    world.pass(Duration::from_secs(2));
    let leader = world.joined(first);
    let members: Vec<_> = leader.members.iter().map(|member| &*member.member_id).collect();
    assert_eq!((leader.generation_id, members), (2, vec!["a", "c"]));
    assert_eq!(world.joined(third).generation_id, 2);
    let late = world.send(Request::Join(join("b", "")));
    assert_eq!(world.joined(late).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_is_alive_and_does_not_join_is_out_after_the_rebalance_timeout() {
    let mut world = World::new();
    stable(&mut world, &["a", "b"]);
    let third = world.send(Request::Join(join("", "c")));
    let second = world.send(Request::Join(join("b", "")));
    for _ in 0..11 {
        world.pass(Duration::from_secs(5));
        let alive = world.ask(Request::Heartbeat(identity(1, "a")));
        assert_eq!(alive, code(ErrorCode::RebalanceInProgress));
    }
    assert_eq!((world.taken(second), world.taken(third)), (None, None));
    world.pass(Duration::from_secs(6));
    let second = world.joined(second);
    assert_eq!((second.generation_id, &*second.leader), (2, "b"), "the leader is out");
    assert_eq!((second.members.len(), world.joined(third).generation_id), (2, 2));
    let out = world.ask(Request::Heartbeat(identity(1, "a")));
    assert_eq!(out, code(ErrorCode::UnknownMemberId));
}

#[test]
fn a_member_that_leaves_before_the_assignment_is_there_starts_it_over() {
    for leaver in ["a", "b", "c"] {
        let mut world = World::new();
        let tokens = ["a", "b", "c"].map(|id| world.send(Request::Join(join("", id))));
        world.pass(Duration::from_secs(6));
        assert!(tokens.map(|token| world.joined(token).generation_id).iter().all(|it| *it == 1));
        // `a` leads and has not synced.
        let waiting = ["b", "c"].map(|id| (id, world.send(sync(1, id, &[]))));
        assert_eq!(world.ask(leave(leaver)), codes(&[ErrorCode::None]));
        for (id, token) in waiting {
            let expected = if id == leaver {
                ErrorCode::UnknownMemberId
            } else {
                ErrorCode::RebalanceInProgress
            };
            assert_eq!(world.synced(token).error, expected, "{leaver} left, {id}");
        }
        let left = ["a", "b", "c"].into_iter().filter(|id| *id != leaver);
        let tokens: Vec<_> = left.map(|id| world.send(Request::Join(join(id, "")))).collect();
        for token in tokens {
            assert_eq!(world.joined(token).generation_id, 2, "{leaver} left");
        }
    }
}

/// The assignment of a generation that is over does nothing once it is acknowledged, though it
/// is in the log.
#[test]
fn a_member_that_leaves_while_the_assignment_is_written_starts_it_over() {
    let mut world = World::new();
    let tokens = ["a", "b"].map(|id| world.send(Request::Join(join("", id))));
    world.pass(Duration::from_secs(6));
    assert!(tokens.map(|token| world.joined(token).generation_id).iter().all(|it| *it == 1));
    world.holds = true;
    let leader = world.send(sync(1, "a", &[("a", "x"), ("b", "y")]));
    assert_eq!(world.taken(leader), None, "not before it is written down");
    assert_eq!(world.ask(leave("b")), codes(&[ErrorCode::None]));
    assert_eq!(world.synced(leader).error, ErrorCode::RebalanceInProgress);
    for id in std::mem::take(&mut world.held) {
        world.apply(Event::Appended { id, result: Ok(()) });
    }
    assert_eq!(world.group().state(), GroupState::PreparingRebalance);
    let again = world.send(Request::Join(join("a", "")));
    assert_eq!(world.joined(again).generation_id, 2);
    let stale = world.send(sync(1, "a", &[("a", "x")]));
    assert_eq!(world.synced(stale).error, ErrorCode::IllegalGeneration);
}

#[test]
fn while_members_are_waited_for_a_sync_is_told_to_join() {
    let mut world = World::new();
    stable(&mut world, &["a"]);
    world.send(Request::Join(join("", "b")));
    let token = world.send(sync(1, "a", &[]));
    assert_eq!(world.synced(token).error, ErrorCode::RebalanceInProgress);
}
