package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Where the group commits in each partition.
const first, second = 7, 4

func (t *target) freshGroup() string {
	t.readers++
	return fmt.Sprintf("%s-reader-%d", t.group, t.readers)
}

func (t *target) joined(group string, options ...kgo.Opt) (*kgo.Client, error) {
	return t.client(append([]kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(t.topic),
		kgo.DisableAutoCommit(),
		kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, options...)...)
}

// member is one member of a group, polling on a goroutine of its own.
type member struct {
	client   *kgo.Client
	mutex    sync.Mutex
	assigned map[int32]bool
	seen     map[string]bool
	done     chan struct{}
}

func (t *target) member(group string, options ...kgo.Opt) (*member, error) {
	m := &member{assigned: map[int32]bool{}, seen: map[string]bool{}, done: make(chan struct{})}
	change := func(has bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, topics map[string][]int32) {
			m.mutex.Lock()
			defer m.mutex.Unlock()
			for _, partition := range topics[t.topic] {
				if has {
					m.assigned[partition] = true
				} else {
					delete(m.assigned, partition)
				}
			}
		}
	}
	client, err := t.joined(group, append(options,
		kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)),
		kgo.OnPartitionsLost(change(false)),
	)...)
	if err != nil {
		return nil, err
	}
	m.client = client
	go m.poll()
	return m, nil
}

func (m *member) poll() {
	defer close(m.done)
	for {
		fetches := m.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		m.mutex.Lock()
		for _, record := range fetches.Records() {
			m.seen[fmt.Sprintf("%d@%d", record.Partition, record.Offset)] = true
		}
		m.mutex.Unlock()
	}
}

func (m *member) partitions() map[int32]bool {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	copied := map[int32]bool{}
	for partition := range m.assigned {
		copied[partition] = true
	}
	return copied
}

func (m *member) addSeen(all map[string]bool) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for record := range m.seen {
		all[record] = true
	}
}

func (m *member) leave() {
	m.client.Close()
	<-m.done
}

// rebalance gives one of two partitions to a second member and takes it back when that one leaves.
func (t *target) rebalance(ctx context.Context) error {
	group := t.freshGroup()
	one, err := t.member(group)
	if err != nil {
		return err
	}
	defer one.leave()
	counts := func(first int) func() (bool, error) {
		return func() (bool, error) { return len(one.partitions()) == first, nil }
	}
	if err := until(ctx, "both partitions for the only member", counts(2)); err != nil {
		return err
	}
	two, err := t.member(group)
	if err != nil {
		return err
	}
	err = until(ctx, "a partition each", func() (bool, error) {
		a, b := one.partitions(), two.partitions()
		return len(a) == 1 && len(b) == 1 && a[0] != b[0], nil
	})
	two.leave()
	if err != nil {
		return err
	}
	if err := until(ctx, "both partitions again", counts(2)); err != nil {
		return err
	}
	seen := map[string]bool{}
	return until(ctx, "every record", func() (bool, error) {
		one.addSeen(seen)
		two.addSeen(seen)
		return len(seen) == len(t.sent), nil
	})
}

// staticMember ends each of two members and brings it back under its name: the group stays as it was.
func (t *target) staticMember(ctx context.Context) error {
	group, names := t.freshGroup(), []string{"one", "two"}
	members := make([]*member, len(names))
	join := func(i int) error {
		m, err := t.member(group, kgo.InstanceID(names[i]), kgo.SessionTimeout(30*time.Second))
		if err == nil {
			members[i] = m
		}
		return err
	}
	settled := func() (bool, error) {
		_, first := members[0].client.GroupMetadata()
		_, second := members[1].client.GroupMetadata()
		one, two := members[0].partitions(), members[1].partitions()
		return len(one) == 1 && len(two) == 1 && one[0] != two[0] && first == second, nil
	}
	for i := range names {
		if err := join(i); err != nil {
			return err
		}
		defer func() { members[i].leave() }()
	}
	if err := until(ctx, "a partition each", settled); err != nil {
		return err
	}
	_, generation := members[0].client.GroupMetadata()
	for i, name := range names {
		had := members[i].partitions()
		members[i].leave()
		if err := join(i); err != nil {
			return err
		}
		if err := until(ctx, "a partition each again", settled); err != nil {
			return err
		}
		if _, now := members[i].client.GroupMetadata(); now != generation || members[i].partitions()[0] != had[0] {
			return fmt.Errorf("%s is in generation %d, was in %d", name, now, generation)
		}
	}
	return t.admin(func(admin *kadm.Client) error {
		answers, err := admin.LeaveGroup(ctx, kadm.LeaveGroup(group).InstanceIDs(names...))
		if err != nil {
			return err
		}
		return answers.Error()
	})
}

// committed is what a group has committed in each partition of the topic.
func (t *target) committed(ctx context.Context, group string) (map[int32]int64, error) {
	found := map[int32]int64{}
	err := t.admin(func(admin *kadm.Client) error {
		offsets, err := admin.FetchOffsets(ctx, group)
		offsets.Each(func(offset kadm.OffsetResponse) { found[offset.Partition] = offset.At })
		return err
	})
	return found, err
}

// deleteOffsets forgets one of two committed offsets.
func (t *target) deleteOffsets(ctx context.Context) error {
	half := t.group + "-half"
	if err := t.commit(ctx, half, 1, 1); err != nil {
		return err
	}
	err := t.admin(func(admin *kadm.Client) error {
		zero := kadm.TopicsSet{}
		zero.Add(t.topic, 0)
		answers, err := admin.DeleteOffsets(ctx, half, zero)
		if err != nil {
			return err
		}
		return answers.Error()
	})
	if err != nil {
		return err
	}
	left, err := t.committed(ctx, half)
	if _, kept := left[1]; err == nil && (len(left) != 1 || !kept) {
		err = fmt.Errorf("left %v", left)
	}
	return err
}

// resetOffsets moves a group without members to the start, and a member reads from there.
func (t *target) resetOffsets(ctx context.Context) error {
	moved := t.group + "-moved"
	if err := t.commit(ctx, moved, first, second); err != nil {
		return err
	}
	err := t.admin(func(admin *kadm.Client) error {
		starts, err := admin.ListStartOffsets(ctx, t.topic)
		if err != nil {
			return err
		}
		return admin.CommitAllOffsets(ctx, moved, starts.Offsets())
	})
	if err != nil {
		return err
	}
	return t.resumeIn(ctx, moved, 0, 0)
}

func (t *target) commit(ctx context.Context, group string, zero, one int64) error {
	return t.admin(func(admin *kadm.Client) error {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: t.topic, Partition: 0, At: zero, LeaderEpoch: -1, Metadata: "first"})
		offsets.Add(kadm.Offset{Topic: t.topic, Partition: 1, At: one, LeaderEpoch: -1})
		if err := admin.CommitAllOffsets(ctx, group, offsets); err != nil {
			return err
		}
		found, err := admin.FetchOffsets(ctx, group)
		if err != nil {
			return err
		}
		a, _ := found.Lookup(t.topic, 0)
		b, _ := found.Lookup(t.topic, 1)
		if a.At != zero || b.At != one || a.Metadata != "first" {
			return fmt.Errorf("committed %+v and %+v", a, b)
		}
		return nil
	})
}

func (t *target) resume(ctx context.Context) error {
	return t.resumeIn(ctx, t.group, first, second)
}

func (t *target) resumeIn(ctx context.Context, group string, zero, one int64) error {
	client, err := t.joined(group)
	if err != nil {
		return err
	}
	defer client.Close()
	found := map[int32]int64{}
	for len(found) < 2 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, record := range fetches.Records() {
			if _, seen := found[record.Partition]; !seen {
				found[record.Partition] = record.Offset
			}
		}
	}
	if found[0] != zero || found[1] != one {
		return fmt.Errorf("resumed at %v", found)
	}
	return nil
}

func (t *target) groups(ctx context.Context) (groups kadm.ListedGroups, err error) {
	err = t.admin(func(admin *kadm.Client) error {
		groups, err = admin.ListGroups(ctx)
		return err
	})
	return groups, err
}

func (t *target) listGroups(ctx context.Context) error {
	groups, err := t.groups(ctx)
	if _, listed := groups[t.group]; err == nil && !listed {
		err = fmt.Errorf("group is not listed: %v", groups.Groups())
	}
	return err
}

func (t *target) describeGroup(ctx context.Context) error {
	return t.admin(func(admin *kadm.Client) error {
		groups, err := admin.DescribeGroups(ctx, t.group)
		if err == nil && groups[t.group].State != "Empty" {
			err = fmt.Errorf("state is %q, error %v", groups[t.group].State, groups[t.group].Err)
		}
		return err
	})
}

func (t *target) deleteGroup(ctx context.Context) error {
	gone := t.group + "-gone"
	if err := t.commit(ctx, gone, 1, 1); err != nil {
		return err
	}
	err := t.admin(func(admin *kadm.Client) error {
		answer, err := admin.DeleteGroup(ctx, gone)
		if err != nil {
			return err
		}
		return answer.Err
	})
	if err != nil {
		return err
	}
	groups, err := t.groups(ctx)
	if _, listed := groups[gone]; err == nil && listed {
		err = fmt.Errorf("group is still listed")
	}
	return err
}
