import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.clients.producer.KafkaProducer;

/**
 * Every operation of the clients of 0.8.2: the first Java producer and the simple consumer, since
 * the other consumer of that release needs ZooKeeper. Arguments: bootstrap, phase, name, records.
 */
public final class SimpleClient {
    private static final List<String> CODECS = Arrays.asList("none", "gzip", "snappy", "lz4", "zstd");

    private SimpleClient() {}

    public static void main(String[] args) throws Exception {
        Target target = new Target(args[0], args[2]);
        try (Simple simple = new Simple(target)) {
            if (args[1].equals("before")) {
                before(target, simple);
            } else {
                int records = Integer.parseInt(args[3]);
                Report.run("records_after_restart", () -> everything(target, simple, records));
                Report.run("resume_after_restart", () -> resume(target, simple));
            }
        }
        System.exit(0);
    }

    private static void before(Target target, Simple simple) {
        Producing producing = new Producing(target);
        Report.run("create_topic", () -> {
            try (KafkaProducer<String, String> producer = target.producer()) {
                simple.await("the topic", () -> producer.partitionsFor(target.topic).size() == 2);
            }
        });
        for (String codec : CODECS) {
            Report.run("produce_" + codec, () -> producing.compressed(codec));
        }
        Report.run("produce_idempotent", producing::idempotent);
        Report.run("consume_beginning", () -> {
            List<String> read = everything(target, simple, producing.sent.size());
            List<String> expected = new ArrayList<>(producing.sent);
            Collections.sort(read);
            Collections.sort(expected);
            Report.check(read.equals(expected), "read " + read + ", expected " + expected);
        });
        Report.run("consume_offset", () -> {
            List<Simple.Read> records = simple.read(target.topic, 0, 3, 1);
            Report.check(records.get(0).offset == 3, "asked for 3, got " + records.get(0).offset);
        });
        Report.run("consume_end", () -> {
            long end = simple.offsetAt(target.topic, 0, -1);
            Report.check(producing.one(0, "at the end") == end, "the end is not " + end);
            List<Simple.Read> records = simple.read(target.topic, 0, end, 1);
            Report.check(records.size() == 1 && records.get(0).value.equals("at the end"), "read " + records);
        });
        Report.run("read_foreign", () -> {
            List<Simple.Read> records = simple.read("foreign", 0, simple.offsetAt("foreign", 0, -2), 10);
            for (int i = 0; i < 10; i++) {
                String read = records.get(i).toString();
                Report.check(read.equals("key" + i + "=value" + i), "record " + i + " is " + read);
            }
        });
        Report.run("commit", simple::commit);
        Report.run("resume", () -> resume(target, simple));
        Report.state(producing.sent.size());
    }

    private static List<String> everything(Target target, Simple simple, int expected) throws Exception {
        List<String> read = new ArrayList<>();
        for (int partition = 0; partition < 2; partition++) {
            long offset = simple.offsetAt(target.topic, partition, -2);
            long end = simple.offsetAt(target.topic, partition, -1);
            for (Simple.Read record : simple.read(target.topic, partition, offset, (int) (end - offset))) {
                Report.check(record.offset == offset, "offset " + record.offset + ", expected " + offset);
                offset += 1;
                read.add(record.toString());
            }
        }
        Report.check(read.size() == expected, read.size() + " records, expected " + expected);
        return read;
    }

    private static void resume(Target target, Simple simple) throws Exception {
        for (int partition = 0; partition < 2; partition++) {
            long committed = simple.committed(partition);
            Report.check(committed == Simple.COMMITTED[partition], "committed " + committed);
            long first = simple.read(target.topic, partition, committed, 1).get(0).offset;
            Report.check(first == committed, "resumed at " + first);
        }
    }
}
