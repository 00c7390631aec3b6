"""Every operation of kafka-python, speaking the protocol of one release.

Arguments: bootstrap, phase, name, records, release (such as 0.10.2). kafka-python then uses only
the request versions that a broker of that release has.
"""

import sys
import threading
import time
import traceback

import kafka.errors
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewPartitions, NewTopic
from kafka.structs import OffsetAndMetadata

PATIENCE = 60
FIRST, SECOND = 7, 4


class Cannot(Exception):
    """The client has no such operation in this release's protocol."""


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        check(time.monotonic() < end, "waited in vain for " + what)
        time.sleep(0.02)


class Client:
    def __init__(self, bootstrap, name, release):
        self.bootstrap, self.topic, self.group = bootstrap, name, name + "-group"
        self.release = tuple(int(part) for part in release.split("."))
        self.both = [TopicPartition(name, 0), TopicPartition(name, 1)]
        self.sent, self.deleted, self.readers = [], 0, 0

    def since(self, *release):
        if self.release < release:
            raise Cannot("needs " + ".".join(map(str, release)))

    def common(self):
        return {"bootstrap_servers": self.bootstrap, "api_version": self.release}

    def admin(self):
        return KafkaAdminClient(**self.common())

    def consumer(self, group=None, reset="earliest", **more):
        if group is None:
            self.readers += 1
            group = "%s-reader-%d" % (self.group, self.readers)
        settings = {
            "group_id": group,
            "auto_offset_reset": reset,
            "enable_auto_commit": False,
            "session_timeout_ms": 6000,
            "heartbeat_interval_ms": 300,
        }
        return KafkaConsumer(**self.common(), **{**settings, **more})

    # Producing

    def create_topic(self):
        if self.release >= (0, 10, 1):
            self.new_topic(self.topic, 2)
        producer = KafkaProducer(**self.common())
        until("the topic", lambda: self.has_partitions(producer, 2))
        producer.close()

    def new_topic(self, topic, partitions):
        self.since(0, 10, 1)
        admin = self.admin()
        admin.create_topics([NewTopic(topic, partitions, 1)])
        admin.close()

    def has_partitions(self, producer, count):
        try:
            return len(producer.partitions_for(self.topic) or ()) == count
        except kafka.errors.KafkaTimeoutError:
            return False

    def send(self, label, **settings):
        producer = KafkaProducer(**self.common(), acks="all", linger_ms=20, **settings)
        pending = []
        for i in range(10):
            for key, value in (("%s-key-%d" % (label, i), "%s-keyed-%d" % (label, i)), (None, "%s-%d" % (label, i))):
                pending.append(producer.send(self.topic, value.encode(), key and key.encode()))
                self.sent.append((key or "", value))
        for one in pending:
            check(one.get(PATIENCE).offset >= 0, "no offset was returned")
        producer.close()

    def produce(self, codec):
        if codec == "zstd":
            self.since(2, 1)
        plain = {"enable_idempotence": False} if self.release >= (0, 11) else {}
        self.send(codec, compression_type=None if codec == "none" else codec, **plain)

    def idempotent(self):
        self.since(0, 11)
        self.send("idempotent", enable_idempotence=True)

    # Reading by assignment

    def read(self, consumer, at_least):
        records, end = [], time.monotonic() + PATIENCE
        while len(records) < at_least:
            check(time.monotonic() < end, "%d records in time, expected %d" % (len(records), at_least))
            for batch in consumer.poll(200).values():
                records.extend(batch)
        for batch in consumer.poll(50).values():
            records.extend(batch)
        return records

    def everything(self, expected):
        consumer = self.consumer()
        consumer.assign(self.both)
        records = self.read(consumer, expected)
        consumer.close()
        for partition in (0, 1):
            offsets = [record.offset for record in records if record.partition == partition]
            check(offsets == list(range(offsets[0], offsets[0] + len(offsets))), "offsets %s" % offsets)
        check(len(records) == expected, "%d records, expected %d" % (len(records), expected))
        return records

    def beginning(self):
        read = [((r.key or b"").decode(), r.value.decode()) for r in self.everything(len(self.sent))]
        check(sorted(read) == sorted(self.sent), "read %s, expected %s" % (sorted(read), sorted(self.sent)))

    def offset(self):
        consumer = self.consumer(reset="none")
        consumer.assign(self.both[:1])
        consumer.seek(self.both[0], 3)
        offset = self.read(consumer, 1)[0].offset
        consumer.close()
        check(offset == 3, "asked for offset 3, got %d" % offset)

    def timestamp(self):
        self.since(0, 10, 1)
        consumer = self.consumer()
        consumer.assign(self.both[:1])
        records = self.read(consumer, 10)
        wanted = records[-1].timestamp
        expected = min(record.offset for record in records if record.timestamp >= wanted)
        found = consumer.offsets_for_times({self.both[0]: wanted})[self.both[0]].offset
        check(found == expected, "offset for time is %d, expected %d" % (found, expected))
        consumer.seek(self.both[0], found)
        check(self.read(consumer, 1)[0].offset == found, "reading from the time")
        consumer.close()

    def end(self):
        consumer = self.consumer(reset="latest")
        consumer.assign(self.both)
        for partition in self.both:
            consumer.position(partition)
        producer = KafkaProducer(**self.common())
        offset = producer.send(self.topic, b"at the end", partition=0).get(PATIENCE).offset
        producer.close()
        self.sent.append(("", "at the end"))
        offsets = [record.offset for record in self.read(consumer, 1)]
        consumer.close()
        check(offsets == [offset], "read offsets %s, expected %d" % (offsets, offset))

    def foreign(self):
        consumer = self.consumer()
        consumer.assign([TopicPartition("foreign", 0)])
        read = [(r.key, r.value) for r in self.read(consumer, 10)]
        consumer.close()
        check(read == [(b"key%d" % i, b"value%d" % i) for i in range(10)], "read %s" % read)

    # Groups

    def rebalance(self):
        self.since(0, 9)
        self.readers += 1
        group = "%s-reader-%d" % (self.group, self.readers)
        first = Member(self, group)
        try:
            until("both partitions for the only member", lambda: first.count() == 2)
            second = Member(self, group)
            try:
                until("a partition each", lambda: first.count() == 1 and second.count() == 1)
                check(first.assigned != second.assigned, "both have the same partition")
            finally:
                second.leave()
            until("both partitions again", lambda: first.count() == 2)
            until("every record", lambda: len(first.seen | second.seen) == len(self.sent))
        finally:
            first.leave()

    def static_member(self):
        """Each of two members ends and comes back under its name, and the group stays as it was."""
        self.since(2, 3)
        self.readers += 1
        group = "%s-reader-%d" % (self.group, self.readers)
        named = lambda name: Member(self, group, group_instance_id=name, session_timeout_ms=30000)
        members = {name: named(name) for name in ("one", "two")}
        settled = lambda: [member.count() for member in members.values()] == [1, 1]
        try:
            until("a partition each", settled)
            before = {name: (member.assigned, member.rebalances) for name, member in members.items()}
            for name, other in (("one", "two"), ("two", "one")):
                members[name].leave()
                seen = members[other].rebalances
                members[name] = named(name)
                until("a partition each again", settled)
                check(members[name].assigned == before[name][0], "%s has %s" % (name, members[name].assigned))
                check(members[other].rebalances == seen, "%s caused a rebalance" % name)
        finally:
            for member in members.values():
                member.leave()

    def commit(self, group=None, first=FIRST, second=SECOND):
        consumer = self.consumer(group or self.group, "none")
        consumer.assign(self.both)
        offsets = dict(zip(self.both, (OffsetAndMetadata(first, "first", -1), OffsetAndMetadata(second, "", -1))))
        consumer.commit(offsets)
        for partition, offset in offsets.items():
            found = consumer.committed(partition, metadata=True)
            check(found is not None, "nothing was committed for %s" % (partition,))
            check((found.offset, found.metadata) == (offset.offset, offset.metadata), "committed %s" % (found,))
        consumer.close()

    def resume(self):
        consumer, first = self.consumer(self.group, "none"), {}
        if self.release < (0, 9):
            consumer.assign(self.both)
        else:
            consumer.subscribe([self.topic])

        def both():
            for batch in consumer.poll(100).values():
                for record in batch:
                    first.setdefault(record.partition, record.offset)
            return len(first) == 2

        until("a record of each partition", both)
        consumer.close()
        check(first == {0: FIRST, 1: SECOND}, "resumed at %s" % first)

    # Administration

    def config(self, key):
        admin = self.admin()
        responses = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self.topic)])
        admin.close()
        entries = responses[0].resources[0]
        check(entries[0] == 0, "error %s" % (entries[:2],))
        return {entry[0]: entry[1] for entry in entries[4]}[key]

    def describe_configs(self):
        self.since(0, 11)
        check(self.config("retention.ms") == "604800000", "default of retention.ms")

    def alter_configs(self):
        self.since(0, 11)
        admin = self.admin()
        change = ConfigResource(ConfigResourceType.TOPIC, self.topic, {"retention.ms": "604800001"})
        response = admin.alter_configs([change])
        admin.close()
        check(response.resources[0][0] == 0, "error %s" % (response.resources[0],))
        until("the new value", lambda: self.config("retention.ms") == "604800001")

    def groups(self):
        self.since(0, 10)
        admin = self.admin()
        groups = [group[0] for group in admin.list_consumer_groups()]
        admin.close()
        return groups

    def list_groups(self):
        check(self.group in self.groups(), "group is not listed")

    def describe_group(self):
        self.since(0, 10)
        admin = self.admin()
        state = admin.describe_consumer_groups([self.group])[0].state
        admin.close()
        check(state == "Empty", "state is " + state)

    def delete_group(self):
        self.since(1, 1)
        gone = self.group + "-gone"
        self.commit(gone, 1, 1)
        admin = self.admin()
        outcome = admin.delete_consumer_groups([gone])
        admin.close()
        check(outcome[0][1] is kafka.errors.NoError, "outcome %s" % (outcome,))
        check(gone not in self.groups(), "group is still listed")

    def create_partitions(self):
        self.since(1, 0)
        more = self.topic + "-more"
        self.new_topic(more, 1)
        admin = self.admin()
        admin.create_partitions({more: NewPartitions(3)})
        until("three partitions", lambda: len(admin.describe_topics([more])[0]["partitions"]) == 3)
        admin.close()

    def delete_records(self):
        self.since(0, 11)
        admin = self.admin()
        low = admin.delete_records({self.both[0]: 2})[self.both[0]]["low_watermark"]
        admin.close()
        check(low == 2, "low watermark is %d" % low)
        self.deleted = 2
        consumer = self.consumer()
        consumer.assign(self.both[:1])
        check(self.read(consumer, 1)[0].offset == 2, "first offset")
        consumer.close()

    def log_dirs(self):
        self.since(1, 0)
        if self.release >= (4, 0):
            raise Cannot("the client has version 0 of DescribeLogDirs alone")
        admin = self.admin()
        answer = admin.describe_log_dirs()
        admin.close()
        partitions = []
        for error, _, topics in answer.log_dirs:
            check(error == 0, "error %d" % error)
            partitions += [partition for topic, found in topics if topic == self.topic for partition in found]
        check(sorted(p[0] for p in partitions) == [0, 1], "partitions %s" % partitions)
        check(all(p[1] > 0 and tuple(p[2:]) == (0, False) for p in partitions), "partitions %s" % partitions)

    def delete_topic(self):
        self.since(0, 10, 1)
        gone = self.topic + "-gone"
        self.new_topic(gone, 1)
        admin = self.admin()
        admin.delete_topics([gone])
        until("the end of the topic", lambda: gone not in admin.list_topics())
        admin.close()


class Rebalances(ConsumerRebalanceListener):
    """Counts the rebalances that a member took part in."""

    def __init__(self, member):
        self.member = member

    def on_partitions_revoked(self, revoked):
        pass

    def on_partitions_assigned(self, assigned):
        self.member.rebalances += 1


class Member(threading.Thread):
    """One member of a group on a thread of its own."""

    def __init__(self, client, group, **settings):
        super().__init__(daemon=True)
        self.consumer, self.rebalances = client.consumer(group, **settings), 0
        self.consumer.subscribe([client.topic], listener=Rebalances(self))
        self.seen, self.assigned, self.failure, self.stop = set(), set(), None, False
        self.start()

    def run(self):
        try:
            while not self.stop:
                for partition, batch in self.consumer.poll(100).items():
                    self.seen |= {(partition.partition, record.offset) for record in batch}
                self.assigned = set(self.consumer.assignment())
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error
        finally:
            self.consumer.close()

    def count(self):
        check(self.failure is None, "member failed: %r" % self.failure)
        return len(self.assigned)

    def leave(self):
        self.stop = True
        self.join()


def run(name, operation):
    start = time.monotonic()
    try:
        operation()
        outcome, detail = "ok", "%d ms" % ((time.monotonic() - start) * 1000)
    except Cannot as cannot:
        outcome, detail = "cannot", str(cannot)
    except Exception as error:  # pylint: disable=broad-except
        traceback.print_exc()
        outcome, detail = "FAIL", repr(error).replace("\n", " ")
    print("@op\t%s\t%s\t%s" % (name, outcome, detail), flush=True)


def main():
    bootstrap, phase, name, records, release = sys.argv[1:]
    client = Client(bootstrap, name, release)
    if phase == "after":
        run("records_after_restart", lambda: client.everything(int(records)))
        run("resume_after_restart", client.resume)
        return
    run("create_topic", client.create_topic)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        run("produce_" + codec, lambda codec=codec: client.produce(codec))
    run("produce_idempotent", client.idempotent)
    run("consume_beginning", client.beginning)
    run("consume_offset", client.offset)
    run("consume_timestamp", client.timestamp)
    run("consume_end", client.end)
    run("read_foreign", client.foreign)
    run("group_rebalance", client.rebalance)
    for name in ("static_member", "commit", "resume", "describe_configs", "alter_configs", "list_groups", "describe_group",
                 "delete_group", "create_partitions", "log_dirs", "delete_records", "delete_topic"):
        run(name, getattr(client, name))
    print("@state\t%d" % (len(client.sent) - client.deleted), flush=True)


main()
