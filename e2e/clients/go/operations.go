package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// target is the broker, the names that this client uses on it, and what it sent.
type target struct {
	bootstrap, topic, group string
	sent                    []string
	deleted, readers        int
}

func (t *target) client(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(t.bootstrap))...)
}

func (t *target) admin(call func(*kadm.Client) error) error {
	client, err := t.client()
	if err != nil {
		return err
	}
	admin := kadm.NewClient(client)
	defer admin.Close()
	return call(admin)
}

func (t *target) newTopic(ctx context.Context, topic string, partitions int32) error {
	return t.admin(func(admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
		return err
	})
}

// send produces ten keyed and ten other records, as one batch or few.
func (t *target) send(ctx context.Context, label string, options ...kgo.Opt) error {
	client, err := t.client(append(options, kgo.ProducerLinger(20*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for i := range 10 {
		key, value := fmt.Sprintf("%s-key-%d", label, i), fmt.Sprintf("%s-keyed-%d", label, i)
		records = append(records, &kgo.Record{Topic: t.topic, Key: []byte(key), Value: []byte(value)})
		other := fmt.Sprintf("%s-%d", label, i)
		records = append(records, &kgo.Record{Topic: t.topic, Value: []byte(other)})
		t.sent = append(t.sent, key+"="+value, "="+other)
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

// read consumes partitions from the given offsets until enough records have come.
func (t *target) read(ctx context.Context, topic string, offsets map[int32]kgo.Offset, enough int) ([]*kgo.Record, error) {
	client, err := t.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return poll(ctx, client, enough)
}

// poll reads until at least this many records have come, and then whatever comes at once.
func poll(ctx context.Context, client *kgo.Client, enough int) ([]*kgo.Record, error) {
	var records []*kgo.Record
	for len(records) < enough {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d of %d records: %w", len(records), enough, err)
		}
		records = append(records, fetches.Records()...)
	}
	last, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	return append(records, client.PollFetches(last).Records()...), nil
}

func at(offset int64) kgo.Offset { return kgo.NewOffset().At(offset) }

func (t *target) everything(ctx context.Context, expected int) ([]*kgo.Record, error) {
	start := map[int32]kgo.Offset{0: kgo.NewOffset().AtStart(), 1: kgo.NewOffset().AtStart()}
	records, err := t.read(ctx, t.topic, start, expected)
	if err != nil {
		return nil, err
	}
	next := map[int32]int64{}
	for _, record := range records {
		if wanted, seen := next[record.Partition]; seen && wanted != record.Offset {
			return nil, fmt.Errorf("offset %d, expected %d", record.Offset, wanted)
		}
		next[record.Partition] = record.Offset + 1
	}
	if len(records) != expected {
		return nil, fmt.Errorf("%d records, expected %d", len(records), expected)
	}
	return records, nil
}

func (t *target) beginning(ctx context.Context) error {
	records, err := t.everything(ctx, len(t.sent))
	if err != nil {
		return err
	}
	var read []string
	for _, record := range records {
		read = append(read, string(record.Key)+"="+string(record.Value))
	}
	sent := append([]string{}, t.sent...)
	sort.Strings(read)
	sort.Strings(sent)
	if strings.Join(read, " ") != strings.Join(sent, " ") {
		return fmt.Errorf("read %v, expected %v", read, sent)
	}
	return nil
}

func (t *target) firstAt(ctx context.Context, start kgo.Offset, expected int64) error {
	records, err := t.read(ctx, t.topic, map[int32]kgo.Offset{0: start}, 1)
	if err != nil {
		return err
	}
	if records[0].Offset != expected {
		return fmt.Errorf("first offset is %d, expected %d", records[0].Offset, expected)
	}
	return nil
}

func (t *target) offset(ctx context.Context) error { return t.firstAt(ctx, at(3), 3) }

func (t *target) timestamp(ctx context.Context) error {
	records, err := t.read(ctx, t.topic, map[int32]kgo.Offset{0: kgo.NewOffset().AtStart()}, 10)
	if err != nil {
		return err
	}
	last := records[len(records)-1]
	expected := last.Offset
	for _, record := range records {
		if !record.Timestamp.Before(last.Timestamp) {
			expected = min(expected, record.Offset)
		}
	}
	return t.firstAt(ctx, kgo.NewOffset().AfterMilli(last.Timestamp.UnixMilli()), expected)
}

func (t *target) end(ctx context.Context) error {
	var ends kadm.ListedOffsets
	err := t.admin(func(admin *kadm.Client) (err error) {
		ends, err = admin.ListEndOffsets(ctx, t.topic)
		return err
	})
	if err != nil {
		return err
	}
	end, _ := ends.Lookup(t.topic, 0)
	client, err := t.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	record := &kgo.Record{Topic: t.topic, Partition: 0, Value: []byte("at the end")}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return err
	}
	t.sent = append(t.sent, "=at the end")
	if record.Offset != end.Offset {
		return fmt.Errorf("written at %d, the end was %d", record.Offset, end.Offset)
	}
	return t.firstAt(ctx, kgo.NewOffset().AtEnd().Relative(-1), end.Offset)
}

func (t *target) foreign(ctx context.Context) error {
	records, err := t.read(ctx, "foreign", map[int32]kgo.Offset{0: kgo.NewOffset().AtStart()}, 10)
	if err != nil {
		return err
	}
	for i, record := range records {
		read := string(record.Key) + "=" + string(record.Value)
		if read != fmt.Sprintf("key%d=value%d", i, i) {
			return fmt.Errorf("record %d is %s", i, read)
		}
	}
	return nil
}

func (t *target) config(ctx context.Context, key string) (value string, err error) {
	err = t.admin(func(admin *kadm.Client) error {
		configs, err := admin.DescribeTopicConfigs(ctx, t.topic)
		if err != nil {
			return err
		}
		resource, err := configs.On(t.topic, nil)
		if err != nil {
			return err
		}
		for _, config := range resource.Configs {
			if config.Key == key {
				value = config.MaybeValue()
			}
		}
		return resource.Err
	})
	return value, err
}

func (t *target) describeConfigs(ctx context.Context) error {
	value, err := t.config(ctx, "retention.ms")
	if err == nil && value != "604800000" {
		err = fmt.Errorf("retention.ms is %q", value)
	}
	return err
}

func (t *target) alterConfigs(ctx context.Context) error {
	err := t.admin(func(admin *kadm.Client) error {
		value := "604800001"
		change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &value}}
		answers, err := admin.AlterTopicConfigs(ctx, change, t.topic)
		if err != nil {
			return err
		}
		_, err = answers.On(t.topic, func(answer *kadm.AlterConfigsResponse) error { return answer.Err })
		return err
	})
	if err != nil {
		return err
	}
	return until(ctx, "the new value", func() (bool, error) {
		value, err := t.config(ctx, "retention.ms")
		return value == "604800001", err
	})
}

func (t *target) createPartitions(ctx context.Context) error {
	more := t.topic + "-more"
	if err := t.newTopic(ctx, more, 1); err != nil {
		return err
	}
	return t.admin(func(admin *kadm.Client) error {
		answers, err := admin.UpdatePartitions(ctx, 3, more)
		if err != nil {
			return err
		}
		if err := answers.Error(); err != nil {
			return err
		}
		return until(ctx, "three partitions", func() (bool, error) {
			topics, err := admin.ListTopics(ctx, more)
			return len(topics[more].Partitions) == 3, err
		})
	})
}

func (t *target) deleteRecords(ctx context.Context) error {
	err := t.admin(func(admin *kadm.Client) error {
		offsets := kadm.Offsets{}
		offsets.AddOffset(t.topic, 0, 2, -1)
		answers, err := admin.DeleteRecords(ctx, offsets)
		if err != nil {
			return err
		}
		return answers.Error()
	})
	if err != nil {
		return err
	}
	t.deleted = 2
	return t.firstAt(ctx, kgo.NewOffset().AtStart(), 2)
}

func (t *target) deleteTopic(ctx context.Context) error {
	gone := t.topic + "-gone"
	if err := t.newTopic(ctx, gone, 1); err != nil {
		return err
	}
	return t.admin(func(admin *kadm.Client) error {
		if _, err := admin.DeleteTopic(ctx, gone); err != nil {
			return err
		}
		return until(ctx, "the end of the topic", func() (bool, error) {
			topics, err := admin.ListTopics(ctx)
			return !topics.Has(gone), err
		})
	})
}

// logDirs finds both partitions whole, in one directory each.
func (t *target) logDirs(ctx context.Context) error {
	return t.admin(func(admin *kadm.Client) error {
		set := kadm.TopicsSet{}
		set.Add(t.topic, 0, 1)
		brokers, err := admin.DescribeAllLogDirs(ctx, set)
		if err != nil {
			return err
		}
		found := 0
		brokers.Each(func(dir kadm.DescribedLogDir) {
			if dir.Err != nil {
				err = dir.Err
			}
			dir.Topics.Each(func(partition kadm.DescribedLogDirPartition) {
				found++
				if partition.Size == 0 || partition.OffsetLag != 0 || partition.IsFuture || partition.Topic != t.topic {
					err = fmt.Errorf("partition %+v", partition)
				}
			})
		})
		if err == nil && found != 2 {
			err = fmt.Errorf("%d partitions", found)
		}
		return err
	})
}

// describeProducers describes one idempotent producer of three records as it is.
func (t *target) describeProducers(ctx context.Context) error {
	topic := t.topic + "-producers"
	if err := t.newTopic(ctx, topic, 1); err != nil {
		return err
	}
	client, err := t.client()
	if err != nil {
		return err
	}
	defer client.Close()
	var last time.Time
	for i := range 3 {
		record := &kgo.Record{Topic: topic, Value: fmt.Appendf(nil, "value%d", i)}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return err
		}
		last = record.Timestamp
	}
	return t.admin(func(admin *kadm.Client) error {
		set := kadm.TopicsSet{}
		set.Add(topic, 0)
		topics, err := admin.DescribeProducers(ctx, set)
		if err != nil {
			return err
		}
		producers := topics.SortedProducers()
		if len(producers) != 1 {
			return fmt.Errorf("producers %+v", producers)
		}
		only := producers[0]
		same := only.LastSequence == 2 && only.LastTimestamp == last.UnixMilli()
		if !same || only.ProducerEpoch != 0 || only.CurrentTxnStartOffset != -1 {
			return fmt.Errorf("producer %+v", only)
		}
		return nil
	})
}
