import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Membership, commits and what a group finds when it comes back. */
final class Groups {
    private static final long PATIENCE_MS = 60_000;
    private static final long FIRST = 7;
    private static final long SECOND = 4;

    private final Target target;

    Groups(Target target) {
        this.target = target;
    }

    /** One member of a group on a thread of its own. */
    private static final class Member extends Thread {
        final Set<String> seen = ConcurrentHashMap.newKeySet();
        volatile Set<TopicPartition> assigned = Collections.emptySet();
        volatile Throwable failure;
        private volatile boolean stop;
        private final KafkaConsumer<String, String> consumer;

        Member(Target target, String group) {
            consumer = target.consumer(group, "earliest");
            consumer.subscribe(Collections.singletonList(target.topic));
            start();
        }

        @Override
        public void run() {
            try {
                while (!stop) {
                    for (ConsumerRecord<String, String> record : Poll.poll(consumer, 100)) {
                        seen.add(record.partition() + "@" + record.offset());
                    }
                    assigned = new HashSet<>(consumer.assignment());
                }
            } catch (Throwable error) {
                failure = error;
            } finally {
                consumer.close();
            }
        }

        void leave() throws InterruptedException {
            stop = true;
            join();
        }

        int count() {
            if (failure != null) {
                throw new AssertionError("member failed: " + failure);
            }
            return assigned.size();
        }
    }

    /** The second member takes over one of two partitions and gives it back when it leaves. */
    void rebalance(int records) throws Exception {
        String group = target.freshGroup();
        Member first = new Member(target, group);
        try {
            await("both partitions for the only member", () -> first.count() == 2);
            Member second = new Member(target, group);
            try {
                await("a partition each", () -> first.count() == 1 && second.count() == 1);
                Report.check(!first.assigned.equals(second.assigned), "both have the same partition");
            } finally {
                second.leave();
            }
            await("both partitions again", () -> first.count() == 2);
            Set<String> seen = new HashSet<>();
            await("every record", () -> {
                seen.addAll(first.seen);
                seen.addAll(second.seen);
                return seen.size() == records;
            });
        } finally {
            first.leave();
        }
    }

    void commit() {
        commitIn(target.group, FIRST, SECOND);
    }

    void commitIn(String group, long first, long second) {
        try (KafkaConsumer<String, String> consumer = target.consumer(group, "none")) {
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            offsets.put(new TopicPartition(target.topic, 0), new OffsetAndMetadata(first, "first"));
            offsets.put(new TopicPartition(target.topic, 1), new OffsetAndMetadata(second, ""));
            consumer.assign(offsets.keySet().stream().collect(java.util.stream.Collectors.toList()));
            consumer.commitSync(offsets);
            for (Map.Entry<TopicPartition, OffsetAndMetadata> entry : offsets.entrySet()) {
                OffsetAndMetadata committed = Poll.committed(consumer, entry.getKey());
                Report.check(committed != null, "nothing was committed for " + entry.getKey());
                Report.check(committed.offset() == entry.getValue().offset(), "committed " + committed);
                Report.check(committed.metadata().equals(entry.getValue().metadata()), "committed " + committed);
            }
        }
    }

    /** A member of the group starts each partition where the group committed. */
    void resume() throws Exception {
        Map<Integer, Long> first = new HashMap<>();
        try (KafkaConsumer<String, String> consumer = target.consumer(target.group, "none")) {
            consumer.subscribe(Collections.singletonList(target.topic));
            await("a record of each partition", () -> {
                for (ConsumerRecord<String, String> record : Poll.poll(consumer, 100)) {
                    if (!first.containsKey(record.partition())) {
                        first.put(record.partition(), record.offset());
                    }
                }
                return first.size() == 2;
            });
        }
        Report.check(first.get(0) == FIRST && first.get(1) == SECOND, "resumed at " + first);
    }

    static void await(String what, Callable<Boolean> holds) throws Exception {
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (!holds.call()) {
            if (System.currentTimeMillis() > end) {
                throw new AssertionError("waited in vain for " + what);
            }
            Thread.sleep(20);
        }
    }
}
