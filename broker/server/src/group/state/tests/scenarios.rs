//! The protocol, one story each.

use super::*;

#[test]
fn two_members_rebalance_and_each_gets_its_assignment() {
    let mut world = World::new();
    let generation = stable(&mut world, &["a", "b"]);
    assert_eq!(generation, 1);
    let third = world.send(Request::Join(join("", "c")));
    assert_eq!(
        world.ask(Request::Heartbeat(identity(1, "a"))),
        code(ErrorCode::RebalanceInProgress)
    );
    let again = ["a", "b"].map(|id| world.send(Request::Join(join(id, ""))));
    let third = world.joined(third);
    let leader = world.joined(again[0]);
    assert_eq!((third.generation_id, third.members.len()), (2, 0));
    assert_eq!((leader.generation_id, leader.members.len()), (2, 3));
    assert_eq!(world.joined(again[1]).leader, leader.member_id);
}

#[test]
fn each_wrong_request_has_its_code() {
    let mut world = World::new();
    let generation = stable(&mut world, &["a"]);
    let fenced = Identity { group_instance_id: Some(Arc::from("x")), ..identity(generation, "a") };
    let heartbeats = [
        (identity(generation, "nobody"), ErrorCode::UnknownMemberId),
        (identity(generation - 1, "a"), ErrorCode::IllegalGeneration),
        (fenced, ErrorCode::UnknownMemberId),
        (identity(generation, "a"), ErrorCode::None),
    ];
    for (identity, expected) in heartbeats {
        assert_eq!(world.ask(Request::Heartbeat(identity)), code(expected));
    }
    let joins = [
        (Join { session_timeout_ms: 1, ..join("", "n") }, ErrorCode::InvalidSessionTimeout),
        (Join { protocols: Vec::new(), ..join("", "n") }, ErrorCode::InconsistentGroupProtocol),
        (
            Join { protocol_type: Arc::from("connect"), ..join("", "n") },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (join("nobody", ""), ErrorCode::UnknownMemberId),
        (Join { require_known_member_id: true, ..join("", "n") }, ErrorCode::MemberIdRequired),
    ];
    for (join, expected) in joins {
        let token = world.send(Request::Join(join));
        assert_eq!(world.joined(token).error, expected);
    }
    let commits = [
        (generation - 1, "a", ErrorCode::IllegalGeneration),
        (generation, "nobody", ErrorCode::UnknownMemberId),
        (-1, "", ErrorCode::UnknownMemberId),
    ];
    for (generation, id, expected) in commits {
        assert_eq!(world.ask(commit(generation, id, 1)), Reply::Codes(Err(expected)));
    }
    let subscribed = Ok(vec![ErrorCode::GroupSubscribedToTopic]);
    let deletion = Request::DeleteOffsets(vec![partition("t")]);
    assert_eq!(world.ask(deletion), Reply::Codes(subscribed));
    assert_eq!(world.ask(Request::Delete), code(ErrorCode::NonEmptyGroup));
}

#[test]
fn a_group_that_is_not_there_has_codes_too() {
    let mut world = World::new();
    assert_eq!(world.ask(Request::Delete), code(ErrorCode::GroupIdNotFound));
    assert_eq!(world.ask(Request::Describe), Reply::Description(None));
    let illegal = Reply::Codes(Err(ErrorCode::IllegalGeneration));
    assert_eq!(world.ask(commit(3, "a", 1)), illegal);
    let nobody = code(ErrorCode::UnknownMemberId);
    assert_eq!(world.ask(Request::Heartbeat(identity(1, "a"))), nobody);
    assert_eq!(world.state.groups().count(), 0);
}

#[test]
fn a_full_group_takes_nobody() {
    let mut world = World::new();
    stable(&mut world, &["a", "b", "c"]);
    let token = world.send(Request::Join(join("", "d")));
    assert_eq!(world.joined(token).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn a_silent_member_is_out_after_its_session() {
    let mut world = World::new();
    stable(&mut world, &["a"]);
    world.pass(Duration::from_secs(11));
    assert_eq!((world.group().state(), world.group().members().count()), (GroupState::Empty, 0));
    assert_eq!(world.group().generation_id(), 2);
}

#[test]
fn members_that_do_not_sync_are_out_after_the_rebalance_timeout() {
    let mut world = World::new();
    let tokens = ["a", "b"].map(|id| world.send(Request::Join(join("", id))));
    world.pass(Duration::from_secs(6));
    for token in tokens {
        assert_eq!(world.joined(token).generation_id, 1);
    }
    for _ in 0..12 {
        world.pass(Duration::from_secs(5));
        for id in ["a", "b"] {
            world.ask(Request::Heartbeat(identity(1, id)));
        }
    }
    assert_eq!(world.group().members().count(), 0);
}

#[test]
fn a_static_member_that_comes_back_keeps_its_assignment_without_a_rebalance() {
    let mut world = World::new();
    let token = world.send(Request::Join(named("i", "s1")));
    world.pass(Duration::from_secs(10));
    assert_eq!(world.joined(token).generation_id, 1);
    let token = world.send(sync(1, "s1", &[("s1", "mine")]));
    assert_eq!(&*world.synced(token).assignment, b"mine");

    let token = world.send(Request::Join(named("i", "s2")));
    let back = world.joined(token);
    assert_eq!((back.generation_id, back.skip_assignment, &*back.leader), (1, true, "s2"));
    let token = world.send(sync(1, "s2", &[]));
    assert_eq!(&*world.synced(token).assignment, b"mine");
    let old = Identity { group_instance_id: Some(Arc::from("i")), ..identity(1, "s1") };
    assert_eq!(world.ask(Request::Heartbeat(old)), code(ErrorCode::FencedInstanceId));

    let older = Join { supports_skipping_assignment: false, ..named("i", "s3") };
    let token = world.send(Request::Join(older));
    let back = world.joined(token);
    assert_eq!((back.skip_assignment, &*back.leader, &*back.member_id), (false, "s2", "s3"));
}

#[test]
fn the_initial_delay_is_extended_while_members_come() {
    let mut world = World::new();
    let first = world.send(Request::Join(join("", "a")));
    world.pass(Duration::from_secs(2));
    let second = world.send(Request::Join(join("", "b")));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.taken(first), None, "the delay is extended once");
    world.pass(Duration::from_secs(2));
    assert_eq!(
        [world.joined(first), world.joined(second)].map(|reply| reply.generation_id),
        [1, 1]
    );
}

#[test]
fn an_offset_is_visible_once_it_is_acknowledged_and_the_later_one_wins() {
    let mut world = World::new();
    world.holds = true;
    let tokens = [5, 6].map(|offset| world.send(commit(-1, "", offset)));
    let visible = |world: &mut World| {
        let Reply::Offsets(offsets) = world.ask(fetch(false)) else { panic!("offsets") };
        offsets[0].committed.as_ref().map(|c| c.offset)
    };
    assert_eq!(visible(&mut world), None);
    let Reply::Offsets(unstable) = world.ask(fetch(true)) else { panic!("offsets") };
    assert_eq!(unstable[0].error, ErrorCode::UnstableOffsetCommit);
    let held = std::mem::take(&mut world.held);
    for id in held.into_iter().rev() {
        world.apply(Event::Appended { id, result: Ok(()) });
        assert_eq!(visible(&mut world), Some(6));
    }
    let done = Some(Reply::Codes(Ok(vec![ErrorCode::None])));
    assert_eq!(tokens.map(|token| world.taken(token)), [done.clone(), done]);
}

#[test]
fn offsets_expire_with_their_group_and_leave_tombstones() {
    let mut world = World::new();
    world.ask(commit(-1, "", 5));
    world.pass(Duration::from_hours(7 * 24 - 1));
    world.apply(Event::ExpireOffsets);
    assert_eq!(world.group().offsets().count(), 1);
    world.pass(Duration::from_hours(2));
    world.apply(Event::ExpireOffsets);
    assert_eq!(world.state.groups().count(), 0);
    assert_eq!(reloaded(&world).groups().count(), 0);
}

#[test]
fn what_is_read_back_is_what_was_written() {
    let mut world = World::new();
    let generation = stable(&mut world, &["a", "b"]);
    world.ask(commit(generation, "a", 5));
    let again = reloaded(&world);
    let (_, group) = again.groups().next().expect("the group");
    assert_eq!(group.state(), GroupState::Stable);
    assert_eq!(group.value(&[]).generation_id, generation);
    assert_eq!(group.leader_id, world.group().leader_id);
    assert_eq!(group.subscribed_topics, world.group().subscribed_topics);
    assert!(
        group.members().map(|m| &m.assignment).eq(world.group().members().map(|m| &m.assignment))
    );
    assert!(group.offsets().eq(world.group().offsets()));
}

#[test]
fn a_group_that_is_deleted_does_not_come_back() {
    let mut world = World::new();
    let generation = stable(&mut world, &["a"]);
    world.ask(commit(generation, "a", 5));
    let leaver = Leaver { member_id: Arc::from("a"), group_instance_id: None };
    assert_eq!(world.ask(Request::Leave(vec![leaver])), Reply::Codes(Ok(vec![ErrorCode::None])));
    assert_eq!(world.ask(Request::Delete), code(ErrorCode::None));
    assert_eq!(reloaded(&world).groups().count(), 0);
}
