import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
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
        /** The generation in which it was assigned these, -1 in releases that do not say. */
        volatile int generation = -1;
        volatile Throwable failure;
        private volatile boolean stop;
        private final KafkaConsumer<String, String> consumer;

        Member(Target target, String group, String... settings) {
            consumer = target.consumer(group, "earliest", settings);
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
                    generation = Poll.generation(consumer);
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

    /** Each of two members ends and comes back under its name, and the group stays as it was. */
    void staticMember() throws Exception {
        Poll.needStaticMembers();
        String group = target.freshGroup();
        List<String> names = Arrays.asList("one", "two");
        List<Member> members = new ArrayList<>();
        try {
            for (String name : names) {
                members.add(named(group, name));
            }
            await("a partition each", () -> settled(members));
            int generation = members.get(0).generation;
            for (int i = 0; i < members.size(); i++) {
                Set<TopicPartition> had = members.get(i).assigned;
                members.get(i).leave();
                members.set(i, named(group, names.get(i)));
                await("a partition each again", () -> settled(members));
                Report.check(members.get(i).assigned.equals(had), names.get(i) + " got " + members.get(i).assigned);
                Report.check(members.get(i).generation == generation, names.get(i) + " caused a rebalance");
            }
        } finally {
            for (Member member : members) {
                member.leave();
            }
        }
        // Members with a name stay when they end, until they are taken out.
        Report.check("Stable".equalsIgnoreCase(Administer.groupState(target, group)), "the group has no members");
        Administer.removeMembers(target, group, names);
        Report.check("Empty".equalsIgnoreCase(Administer.groupState(target, group)), "the group has members");
    }

    private Member named(String group, String name) {
        return new Member(target, group, "group.instance.id", name, "session.timeout.ms", "30000");
    }

    private static boolean settled(List<Member> members) {
        int generation = members.get(0).generation;
        return members.stream().allMatch(member -> member.count() == 1 && member.generation == generation);
    }

    /** One of two committed offsets is forgotten, the other is not. */
    void deleteOffsets() throws Exception {
        String group = target.group + "-half";
        TopicPartition zero = new TopicPartition(target.topic, 0);
        TopicPartition one = new TopicPartition(target.topic, 1);
        commitIn(group, 1, 1);
        Administer.deleteOffset(target, group, zero);
        Map<TopicPartition, Long> left = Administer.offsets(target, group);
        Report.check(left.equals(Collections.singletonMap(one, 1L)), "left " + left);
    }

    /** A group without members is moved, and a member starts there. */
    void resetOffsets() throws Exception {
        String group = target.group + "-moved";
        commitIn(group, FIRST, SECOND);
        Map<TopicPartition, Long> offsets = new HashMap<>();
        offsets.put(new TopicPartition(target.topic, 0), 5L);
        offsets.put(new TopicPartition(target.topic, 1), 6L);
        Administer.resetOffsets(target, group, offsets);
        Report.check(Administer.offsets(target, group).equals(offsets), "offsets " + Administer.offsets(target, group));
        resumeIn(group, 5, 6);
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

    void resume() throws Exception {
        resumeIn(target.group, FIRST, SECOND);
    }

    /** A member of the group starts each partition where the group is. */
    private void resumeIn(String group, long zero, long one) throws Exception {
        Map<Integer, Long> first = new HashMap<>();
        try (KafkaConsumer<String, String> consumer = target.consumer(group, "none")) {
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
        Report.check(first.get(0) == zero && first.get(1) == one, "resumed at " + first);
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
