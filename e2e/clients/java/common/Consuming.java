import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;

/** Reads by assignment, without membership in a group. */
final class Consuming {
    private static final long PATIENCE_MS = 30_000;

    private final Target target;
    private final List<TopicPartition> both;

    Consuming(Target target) {
        this.target = target;
        this.both = Arrays.asList(new TopicPartition(target.topic, 0), new TopicPartition(target.topic, 1));
    }

    void beginning(List<String> sent) {
        List<ConsumerRecord<String, String>> records = all(sent.size());
        List<String> read = new ArrayList<>();
        for (ConsumerRecord<String, String> record : records) {
            read.add(record.key() + "=" + record.value());
        }
        List<String> expected = new ArrayList<>(sent);
        Collections.sort(read);
        Collections.sort(expected);
        Report.check(read.equals(expected), "read " + read + ", expected " + expected);
    }

    /** Reads from the beginning and finds exactly this many records, their offsets without a hole. */
    void count(int records) {
        all(records);
    }

    void firstOffset(int partition, long offset) {
        TopicPartition which = both.get(partition);
        try (KafkaConsumer<String, String> consumer = target.consumer(target.freshGroup(), "earliest")) {
            consumer.assign(Collections.singletonList(which));
            long first = read(consumer, 1).get(0).offset();
            Report.check(first == offset, "first offset is " + first + ", expected " + offset);
        }
    }

    void offset() {
        TopicPartition first = both.get(0);
        try (KafkaConsumer<String, String> consumer = target.consumer(target.freshGroup(), "none")) {
            consumer.assign(Collections.singletonList(first));
            consumer.seek(first, 3);
            long offset = read(consumer, 1).get(0).offset();
            Report.check(offset == 3, "asked for offset 3, got " + offset);
        }
    }

    void timestamp() throws Exception {
        TopicPartition first = both.get(0);
        try (KafkaConsumer<String, String> consumer = target.consumer(target.freshGroup(), "earliest")) {
            consumer.assign(Collections.singletonList(first));
            List<ConsumerRecord<String, String>> records = read(consumer, 10);
            ConsumerRecord<String, String> last = records.get(records.size() - 1);
            long wanted = Times.timestamp(last);
            long expected = last.offset();
            for (ConsumerRecord<String, String> record : records) {
                if (Times.timestamp(record) >= wanted) {
                    expected = Math.min(expected, record.offset());
                }
            }
            long found = Times.offset(consumer, first, wanted);
            Report.check(found == expected, "offset for time is " + found + ", expected " + expected);
            consumer.seek(first, found);
            Report.check(read(consumer, 1).get(0).offset() == found, "reading from the time");
        }
    }

    void end(Producing producing) throws Exception {
        try (KafkaConsumer<String, String> consumer = target.consumer(target.freshGroup(), "latest")) {
            consumer.assign(both);
            for (TopicPartition partition : both) {
                consumer.position(partition);
            }
            long offset = producing.one(0, "at the end");
            List<ConsumerRecord<String, String>> records = read(consumer, 1);
            Report.check(records.size() == 1, "read " + records.size() + " records from the end");
            Report.check(records.get(0).offset() == offset, "offset " + records.get(0).offset());
        }
    }

    /** Reads what another client wrote in the newest format, compressed and with headers. */
    void foreign() {
        TopicPartition foreign = new TopicPartition("foreign", 0);
        try (KafkaConsumer<String, String> consumer = target.consumer(target.freshGroup(), "earliest")) {
            consumer.assign(Collections.singletonList(foreign));
            List<ConsumerRecord<String, String>> records = read(consumer, 10);
            for (int i = 0; i < 10; i++) {
                String read = records.get(i).key() + "=" + records.get(i).value();
                Report.check(read.equals("key" + i + "=value" + i), "record " + i + " is " + read);
            }
        }
    }

    private List<ConsumerRecord<String, String>> all(int expected) {
        try (KafkaConsumer<String, String> consumer = target.consumer(target.freshGroup(), "earliest")) {
            consumer.assign(both);
            List<ConsumerRecord<String, String>> records = read(consumer, expected);
            long[] next = {-1, -1};
            for (ConsumerRecord<String, String> record : records) {
                long last = next[record.partition()];
                Report.check(last < 0 || record.offset() == last, "offset " + record.offset() + " after " + last);
                next[record.partition()] = record.offset() + 1;
            }
            Report.check(records.size() == expected, records.size() + " records, expected " + expected);
            return records;
        }
    }

    /** Reads until at least this many records have come, and then whatever comes at once. */
    private static List<ConsumerRecord<String, String>> read(KafkaConsumer<String, String> consumer, int atLeast) {
        List<ConsumerRecord<String, String>> records = new ArrayList<>();
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (records.size() < atLeast) {
            if (System.currentTimeMillis() > end) {
                throw new AssertionError(records.size() + " records in time, expected " + atLeast);
            }
            for (ConsumerRecord<String, String> record : Poll.poll(consumer, 200)) {
                records.add(record);
            }
        }
        for (ConsumerRecord<String, String> record : Poll.poll(consumer, 50)) {
            records.add(record);
        }
        return records;
    }
}
