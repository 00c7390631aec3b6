import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.TopicPartition;

/** Every operation of a Java client from 0.9 on; arguments: bootstrap, phase, name, records. */
public final class Client {
    private static final List<String> CODECS = Arrays.asList("none", "gzip", "snappy", "lz4", "zstd");

    private Client() {}

    public static void main(String[] args) {
        Target target = new Target(args[0], args[2]);
        if (args[1].equals("before")) {
            before(target);
        } else {
            after(target, Integer.parseInt(args[3]));
        }
        System.exit(0);
    }

    private static void before(Target target) {
        Producing producing = new Producing(target);
        Consuming consuming = new Consuming(target);
        Groups groups = new Groups(target);
        Report.run("create_topic", () -> Administer.createTopic(target, target.topic, 2));
        for (String codec : CODECS) {
            Report.run("produce_" + codec, () -> producing.compressed(codec));
        }
        Report.run("produce_idempotent", producing::idempotent);
        Report.run("consume_beginning", () -> consuming.beginning(producing.sent));
        Report.run("consume_offset", consuming::offset);
        Report.run("consume_timestamp", consuming::timestamp);
        Report.run("consume_end", () -> consuming.end(producing));
        Report.run("read_foreign", consuming::foreign);
        Report.run("group_rebalance", () -> groups.rebalance(producing.sent.size()));
        Report.run("static_member", groups::staticMember);
        Report.run("commit", groups::commit);
        Report.run("resume", groups::resume);
        administer(target, groups);
        int deleted = target.deleted;
        Report.state(producing.sent.size() - deleted);
    }

    private static void administer(Target target, Groups groups) {
        Report.run("describe_configs", () -> {
            Report.check("604800000".equals(Administer.config(target, "retention.ms")), "default");
        });
        Report.run("alter_configs", () -> {
            Administer.alter(target, "retention.ms", "604800001");
            Groups.await("the new value", () -> "604800001".equals(Administer.config(target, "retention.ms")));
        });
        Report.run("list_groups", () -> {
            Report.check(Administer.groups(target).contains(target.group), "group is not listed");
        });
        Report.run("describe_group", () -> {
            String state = Administer.groupState(target, target.group);
            Report.check("Empty".equalsIgnoreCase(state), "state is " + state);
        });
        Report.run("delete_group", () -> {
            String gone = target.group + "-gone";
            groups.commitIn(gone, 1, 1);
            Administer.deleteGroup(target, gone);
            Report.check(!Administer.groups(target).contains(gone), "group is still listed");
        });
        Report.run("delete_offsets", groups::deleteOffsets);
        Report.run("reset_offsets", groups::resetOffsets);
        Report.run("log_dirs", () -> {
            Map<TopicPartition, Long> sizes = Administer.logDirs(target);
            sizes.keySet().removeIf(partition -> !partition.topic().equals(target.topic));
            Report.check(sizes.size() == 2 && !sizes.containsValue(0L), "sizes " + sizes);
        });
        Report.run("describe_producers", () -> Producers.describe(target));
        Report.run("create_partitions", () -> {
            String more = target.topic + "-more";
            Administer.createTopic(target, more, 1);
            Administer.createPartitions(target, more, 3);
            Groups.await("three partitions", () -> target.partitions(more) == 3);
        });
        Report.run("delete_records", () -> {
            Administer.deleteRecords(target, new TopicPartition(target.topic, 0), 2);
            target.deleted = 2;
            new Consuming(target).firstOffset(0, 2);
        });
        Report.run("delete_topic", () -> {
            String gone = target.topic + "-gone";
            Administer.createTopic(target, gone, 1);
            Administer.deleteTopic(target, gone);
            Groups.await("the end of the topic", () -> !Administer.topics(target).contains(gone));
        });
    }

    private static void after(Target target, int records) {
        Report.run("records_after_restart", () -> new Consuming(target).count(records));
        Report.run("resume_after_restart", new Groups(target)::resume);
    }
}
