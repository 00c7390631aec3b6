// Every operation of franz-go. Arguments: bootstrap, phase, name, records.
//
// It prints a line an operation: "@op", name, "ok" or "FAIL", detail, separated by tabs.
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const patience = 60 * time.Second

// run reports the outcome of one operation; a failed one does not end the program.
func run(name string, operation func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	start := time.Now()
	if err := operation(ctx); err != nil {
		fmt.Printf("@op\t%s\tFAIL\t%s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Printf("@op\t%s\tok\t%d ms\n", name, time.Since(start).Milliseconds())
}

// until calls holds until it says so or the context ends.
func until(ctx context.Context, what string, holds func() (bool, error)) error {
	for {
		done, err := holds()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func main() {
	bootstrap, phase, name, records := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	t := &target{bootstrap: bootstrap, topic: name, group: name + "-group"}
	if phase == "after" {
		expected, _ := strconv.Atoi(records)
		run("records_after_restart", func(ctx context.Context) error {
			_, err := t.everything(ctx, expected)
			return err
		})
		run("resume_after_restart", t.resume)
		return
	}
	run("create_topic", func(ctx context.Context) error { return t.newTopic(ctx, t.topic, 2) })
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{
		{"none", kgo.NoCompression()},
		{"gzip", kgo.GzipCompression()},
		{"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()},
		{"zstd", kgo.ZstdCompression()},
	}
	for _, c := range codecs {
		run("produce_"+c.name, func(ctx context.Context) error {
			return t.send(ctx, c.name, kgo.ProducerBatchCompression(c.codec), kgo.DisableIdempotentWrite())
		})
	}
	run("produce_idempotent", func(ctx context.Context) error { return t.send(ctx, "idempotent") })
	run("consume_beginning", t.beginning)
	run("consume_offset", t.offset)
	run("consume_timestamp", t.timestamp)
	run("consume_end", t.end)
	run("read_foreign", t.foreign)
	run("group_rebalance", t.rebalance)
	run("static_member", t.staticMember)
	run("commit", func(ctx context.Context) error { return t.commit(ctx, t.group, first, second) })
	run("resume", t.resume)
	run("describe_configs", t.describeConfigs)
	run("alter_configs", t.alterConfigs)
	run("list_groups", t.listGroups)
	run("describe_group", t.describeGroup)
	run("delete_group", t.deleteGroup)
	run("delete_offsets", t.deleteOffsets)
	run("reset_offsets", t.resetOffsets)
	run("create_partitions", t.createPartitions)
	run("log_dirs", t.logDirs)
	run("describe_producers", t.describeProducers)
	run("delete_records", t.deleteRecords)
	run("delete_topic", t.deleteTopic)
	fmt.Printf("@state\t%d\n", len(t.sent)-t.deleted)
}
