//! How long offsets live, and how they are taken back before.

use super::*;

const RETENTION: Duration = Duration::from_hours(7 * 24);

/// The offsets that are kept, by topic.
fn kept(world: &World) -> Vec<(String, i64)> {
    let groups = world.state.groups();
    let offsets = groups.flat_map(|(_, group)| group.offsets());
    offsets.map(|(partition, c)| (partition.topic.to_string(), c.offset)).collect()
}

fn commit_to(generation_id: i32, member_id: &str, topic: &str, offset: CommittedOffset) -> Request {
    let identity = identity(generation_id, member_id);
    Request::Commit(Commit { identity, offsets: vec![(partition(topic), offset)] })
}

/// Lets `time` pass while the member `a` is alive, then looks for what has expired.
fn live(world: &mut World, time: Duration) {
    let end = world.clock.now() + time;
    while world.clock.now() < end {
        world.pass(Duration::from_secs(9));
        world.ask(Request::Heartbeat(identity(1, "a")));
    }
    world.apply(Event::ExpireOffsets);
}

/// A topic that the members read is never too old; one that they read no more is.
#[test]
fn while_a_group_lives_only_topics_that_it_does_not_read_expire() {
    let mut world = World::new();
    stable(&mut world, &["a"]);
    for topic in ["t", "former"] {
        let done = world.ask(commit_to(1, "a", topic, committed(5)));
        assert_eq!(done, codes(&[ErrorCode::None]));
    }
    live(&mut world, RETENTION + Duration::from_mins(1));
    assert_eq!(kept(&world), [("t".to_owned(), 5)]);
    assert_eq!(reloaded(&world).groups().flat_map(|(_, group)| group.offsets()).count(), 1);
}

/// Retention counts from when the last member left, however old the commit is (KIP-211).
#[test]
fn offsets_outlive_the_last_member_by_the_retention() {
    let mut world = World::new();
    stable(&mut world, &["a"]);
    world.ask(commit(1, "a", 5));
    live(&mut world, RETENTION / 2);
    assert_eq!(world.ask(leave("a")), codes(&[ErrorCode::None]));
    world.pass(RETENTION * 9 / 10);
    world.apply(Event::ExpireOffsets);
    assert_eq!(kept(&world), [("t".to_owned(), 5)]);
    world.pass(RETENTION / 9);
    world.apply(Event::ExpireOffsets);
    assert_eq!((world.state.groups().count(), reloaded(&world).groups().count()), (0, 0));
}

#[test]
fn an_expiry_that_the_client_named_goes_before_the_retention() {
    let mut world = World::new();
    let soon = CommittedOffset { expire_timestamp: Some(60_000), ..committed(5) };
    let late = CommittedOffset { expire_timestamp: Some(i64::MAX), ..committed(6) };
    world.ask(commit_to(-1, "", "soon", soon));
    world.ask(commit_to(-1, "", "late", late));
    world.pass(Duration::from_mins(1));
    world.apply(Event::ExpireOffsets);
    assert_eq!(kept(&world), [("late".to_owned(), 6)]);
    world.pass(RETENTION * 2);
    world.apply(Event::ExpireOffsets);
    assert_eq!(kept(&world), [("late".to_owned(), 6)]);
}

/// The new offset is in the log after the old one: a tombstone for the old would take it back.
#[test]
fn an_offset_that_is_being_replaced_does_not_expire() {
    let mut world = World::new();
    world.ask(commit(-1, "", 5));
    world.pass(RETENTION * 2);
    world.holds = true;
    let newer = CommittedOffset { commit_timestamp: world.clock.wall().0, ..committed(6) };
    world.send(commit_to(-1, "", "t", newer));
    world.apply(Event::ExpireOffsets);
    for id in std::mem::take(&mut world.held) {
        world.apply(Event::Appended { id, result: Ok(()) });
    }
    world.apply(Event::ExpireOffsets);
    assert_eq!(kept(&world), [("t".to_owned(), 6)]);
    assert_eq!(reloaded(&world).groups().flat_map(|(_, group)| group.offsets()).count(), 1);
}

/// A commit that is under way goes with its topic.
#[test]
fn offsets_go_with_their_topic() {
    let mut world = World::new();
    for topic in ["t", "u"] {
        world.ask(commit_to(-1, "", topic, committed(5)));
    }
    world.holds = true;
    let committing = world.send(commit_to(-1, "", "v", committed(6)));
    world.apply(Event::TopicsDeleted(BTreeSet::from(["t", "v"].map(Arc::from))));
    for id in std::mem::take(&mut world.held) {
        world.apply(Event::Appended { id, result: Ok(()) });
    }
    assert_eq!(world.taken(committing), Some(codes(&[ErrorCode::None])));
    assert_eq!(kept(&world), [("u".to_owned(), 5)]);
    assert_eq!(reloaded(&world).groups().flat_map(|(_, group)| group.offsets()).count(), 1);
    world.holds = false;
    world.apply(Event::TopicsDeleted(BTreeSet::from([Arc::from("u")])));
    assert_eq!(world.state.groups().count(), 0, "nothing is left of the group");
}

fn delete(topics: &[&str]) -> Request {
    Request::DeleteOffsets(topics.iter().map(|topic| partition(topic)).collect())
}

#[test]
fn offsets_of_topics_that_nobody_reads_can_be_deleted_under_a_living_group() {
    let mut world = World::new();
    stable(&mut world, &["a"]);
    for topic in ["t", "former"] {
        world.ask(commit_to(1, "a", topic, committed(5)));
    }
    let results = codes(&[ErrorCode::GroupSubscribedToTopic, ErrorCode::None]);
    assert_eq!(world.ask(delete(&["t", "former"])), results);
    assert_eq!(kept(&world), [("t".to_owned(), 5)]);
    assert_eq!(world.ask(leave("a")), codes(&[ErrorCode::None]));
    assert_eq!(world.ask(delete(&["t", "never"])), codes(&[ErrorCode::None; 2]));
    assert_eq!(kept(&world), []);
    assert_eq!(reloaded(&world).groups().flat_map(|(_, group)| group.offsets()).count(), 0);
}

/// What other kinds of members read is not known.
#[test]
fn offsets_under_a_living_group_of_another_kind_cannot_be_deleted() {
    let mut world = World::new();
    let token =
        world.send(Request::Join(Join { protocol_type: "connect".into(), ..join("", "w") }));
    assert_eq!(world.ask(delete(&["t"])), Reply::Codes(Err(ErrorCode::NonEmptyGroup)));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.joined(token).error, ErrorCode::None);
    assert_eq!(world.ask(delete(&["t"])), Reply::Codes(Err(ErrorCode::NonEmptyGroup)));
}
