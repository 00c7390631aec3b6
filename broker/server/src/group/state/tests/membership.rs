//! Who is let in, under which id, and who is told to go.

use super::*;

fn given(world: &mut World, id: &str) {
    let token = world.send(Request::Join(Join { require_known_member_id: true, ..join("", id) }));
    let reply = world.joined(token);
    assert_eq!((reply.error, &*reply.member_id), (ErrorCode::MemberIdRequired, id));
}

/// Joins with an id that was given out.
fn come_again(world: &mut World, id: &str) -> Token {
    world.send(Request::Join(Join { require_known_member_id: true, ..join(id, "") }))
}

#[test]
fn an_id_that_was_given_out_is_taken_once_and_is_void_after_a_session() {
    let mut world = World::new();
    given(&mut world, "a");
    given(&mut world, "b");
    let first = come_again(&mut world, "a");
    world.pass(Duration::from_secs(4));
    assert_eq!(world.joined(first).generation_id, 1);
    assert_eq!(world.ask(Request::Heartbeat(identity(1, "b"))), code(ErrorCode::UnknownMemberId));
    world.pass(Duration::from_secs(7));
    let late = come_again(&mut world, "b");
    assert_eq!(world.joined(late).error, ErrorCode::UnknownMemberId);
}

/// A group without members that only gave out an id is not kept for it.
#[test]
fn an_id_that_nobody_uses_leaves_nothing_behind() {
    let mut world = World::new();
    given(&mut world, "a");
    assert_eq!(world.ask(leave("a")), codes(&[ErrorCode::None]));
    assert_eq!(world.ask(leave("a")), codes(&[ErrorCode::UnknownMemberId]));
    assert_eq!((world.state.groups().count(), world.log.len()), (0, 0));
}

#[test]
fn a_rebalance_waits_for_those_who_were_given_an_id() {
    let mut world = World::new();
    stable(&mut world, &["a"]);
    given(&mut world, "b");
    given(&mut world, "c");
    let first = world.send(Request::Join(join("a", "")));
    let second = come_again(&mut world, "b");
    assert_eq!((world.taken(first), world.taken(second)), (None, None));
    assert_eq!(world.ask(leave("c")), codes(&[ErrorCode::None]));
    assert_eq!([first, second].map(|token| world.joined(token).generation_id), [2, 2]);
}

fn static_identity(member_id: &str) -> Identity {
    Identity { group_instance_id: Some(Arc::from("i")), ..identity(1, member_id) }
}

/// Whatever the member's former self asks for, it learns that another one has its name.
#[test]
fn a_static_member_that_was_replaced_is_fenced() {
    let mut world = World::new();
    let token = world.send(Request::Join(named("i", "old")));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.joined(token).generation_id, 1);
    let token = world.send(sync(1, "old", &[("old", "x")]));
    assert_eq!(world.synced(token).error, ErrorCode::None);
    let token = world.send(Request::Join(named("i", "new")));
    assert_eq!(world.joined(token).error, ErrorCode::None);

    let fenced = ErrorCode::FencedInstanceId;
    assert_eq!(world.ask(Request::Heartbeat(static_identity("old"))), code(fenced));
    let rejoin = Join { member_id: Arc::from("old"), ..named("i", "") };
    let token = world.send(Request::Join(rejoin));
    assert_eq!(world.joined(token).error, fenced);
    let Request::Sync(plain) = sync(1, "old", &[]) else { panic!("a sync") };
    let token = world.send(Request::Sync(Sync { identity: static_identity("old"), ..plain }));
    assert_eq!(world.synced(token).error, fenced);
    let offsets = vec![(partition("t"), committed(1))];
    let late = Request::Commit(Commit { identity: static_identity("old"), offsets });
    assert_eq!(world.ask(late), Reply::Codes(Err(fenced)));
    let Identity { member_id, group_instance_id, .. } = static_identity("old");
    let leaver = Leaver { member_id, group_instance_id };
    assert_eq!(world.ask(Request::Leave(vec![leaver])), codes(&[fenced]));
    assert_eq!(world.ask(Request::Heartbeat(static_identity("new"))), code(ErrorCode::None));
}

/// What the former self still waits for ends at once.
#[test]
fn a_static_member_that_is_replaced_while_it_waits_is_fenced() {
    let mut world = World::new();
    let joining = world.send(Request::Join(named("i", "s1")));
    let again = world.send(Request::Join(named("i", "s2")));
    assert_eq!(world.joined(joining).error, ErrorCode::FencedInstanceId);
    let leader = world.send(Request::Join(join("", "a")));
    world.pass(Duration::from_secs(9));
    let generations = [again, leader].map(|token| world.joined(token).generation_id);
    assert_eq!((generations, &*world.group().leader_or_empty()), ([1, 1], "s2"));
    world.holds = true;
    let syncing = world.send(sync(1, "s2", &[("s2", "x"), ("a", "y")]));
    world.send(Request::Join(named("i", "s3")));
    assert_eq!(world.synced(syncing).error, ErrorCode::FencedInstanceId);
    assert_eq!(world.group().state(), GroupState::PreparingRebalance);
}

#[test]
fn a_full_group_that_rebalances_takes_those_who_come_first() {
    let mut world = World::new();
    stable(&mut world, &["a", "b", "c"]);
    let first = world.send(Request::Join(join("a", "")));
    let [fourth, fifth] = ["d", "e"].map(|id| world.send(Request::Join(join("", id))));
    let second = world.send(Request::Join(join("b", "")));
    assert_eq!(world.joined(second).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        world.ask(Request::Heartbeat(identity(1, "b"))),
        code(ErrorCode::RebalanceInProgress)
    );
    world.pass(Duration::from_secs(11));
    let generations = [first, fourth, fifth].map(|token| world.joined(token).generation_id);
    assert_eq!((generations, world.group().members().count()), ([2, 2, 2], 3));
}

/// `group.max.size` was lowered while the broker was down.
#[test]
fn a_group_that_comes_back_too_large_rebalances_to_its_size() {
    let mut world = World::new();
    stable(&mut world, &["a", "b", "c"]);
    let mut replay = Replay::default();
    world.log.iter().cloned().for_each(|entry| replay.apply(entry));
    world.state = State::new(Limits { max_size: 2, ..Limits::default() });
    world.apply(Event::Loaded(replay.finish()));
    let alive = world.ask(Request::Heartbeat(identity(1, "a")));
    assert_eq!(alive, code(ErrorCode::RebalanceInProgress));
    let tokens = ["c", "b"].map(|id| world.send(Request::Join(join(id, ""))));
    let late = world.send(Request::Join(join("a", "")));
    assert_eq!(world.joined(late).error, ErrorCode::GroupMaxSizeReached);
    world.pass(Duration::from_secs(11));
    assert_eq!(tokens.map(|token| world.joined(token).generation_id), [2, 2]);
}

/// A group that moves away takes nobody's request with it.
#[test]
fn all_who_wait_are_told_when_the_group_is_kept_elsewhere() {
    let mut world = World::new();
    stable(&mut world, &["a"]);
    world.holds = true;
    let committing = world.send(commit(1, "a", 5));
    let joining = world.send(Request::Join(join("", "b")));
    world.apply(Event::Unloaded(BTreeSet::from([Arc::from("g")])));
    for token in [committing, joining] {
        assert_eq!(world.taken(token), Some(Reply::Unavailable(ErrorCode::NotCoordinator)));
    }
    let held = std::mem::take(&mut world.held);
    for id in held {
        world.apply(Event::Appended { id, result: Ok(()) });
    }
    assert_eq!((world.state.groups().count(), world.state.next_deadline()), (0, None));
}
