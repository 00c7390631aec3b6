import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * An idempotent producer and two members of a group that read what it writes, under faults; arguments:
 * where brokers are, a topic, a group, and how many requests the producer may have in flight.
 *
 * <p>Reads "send PARTITION NUMBER VALUE" and "flush", a line each, until its input ends. Prints, a line
 * each: "sent PARTITION NUMBER OFFSET" or "failed PARTITION NUMBER WHY"; "flushed"; and of members
 * "owns MEMBER GENERATION PARTITIONS", "ask MEMBER PARTITION", "told MEMBER PARTITION OFFSET", "read MEMBER
 * PARTITION OFFSET VALUE", "commit" and "committed MEMBER GENERATION PARTITION OFFSET", "note TEXT". What is
 * about to be done is printed before it is done, what came of it after.
 */
public final class ClusterLoad {
    private static final int MEMBERS = 2;
    private static final Duration POLL = Duration.ofMillis(200);
    /** Of so many rounds with records, one is the member's last for a moment. */
    private static final int LEAVES = 150;

    private static volatile boolean stop;

    private ClusterLoad() {}

    public static void main(String[] args) throws Exception {
        List<Member> members = new ArrayList<>();
        for (int i = 0; i < MEMBERS; i++) {
            Member member = new Member(i, args[0], args[1], args[2]);
            members.add(member);
            member.start();
        }
        try (KafkaProducer<String, String> producer = producer(args[0], args[3])) {
            BufferedReader input =
                new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = input.readLine(); line != null; line = input.readLine()) {
                if (line.equals("flush")) {
                    producer.flush();
                    say("flushed");
                    continue;
                }
                String[] words = line.split(" ", 4);
                send(producer, args[1], Integer.parseInt(words[1]), words[2], words[3]);
            }
        }
        stop = true;
        for (Member member : members) {
            member.join();
        }
    }

    private static void say(String line) {
        synchronized (System.out) {
            System.out.println(line);
            System.out.flush();
        }
    }

    private static void send(
        KafkaProducer<String, String> producer, String topic, int partition, String number, String value) {
        String place = partition + " " + number + " ";
        producer.send(new ProducerRecord<>(topic, partition, number, value), (metadata, error) ->
            say(error == null ? "sent " + place + metadata.offset() : "failed " + place + error));
    }

    private static KafkaProducer<String, String> producer(String brokers, String inFlight) {
        Map<String, Object> config = client(brokers);
        config.put("enable.idempotence", "true");
        config.put("acks", "all");
        config.put("max.in.flight.requests.per.connection", inFlight);
        config.put("linger.ms", "5");
        config.put("compression.type", "lz4");
        // Longer than any storm: a record is given up when the run ends.
        config.put("delivery.timeout.ms", "300000");
        config.put("max.block.ms", "300000");
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    private static Map<String, Object> client(String brokers) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", brokers);
        config.put("request.timeout.ms", "5000");
        config.put("reconnect.backoff.max.ms", "1000");
        config.put("socket.connection.setup.timeout.ms", "1000");
        config.put("socket.connection.setup.timeout.max.ms", "2000");
        config.put("metadata.max.age.ms", "5000");
        return config;
    }

    /** A member of the group; when its consumer fails, another takes its place. */
    private static final class Member extends Thread implements ConsumerRebalanceListener {
        private final int number;
        private final String brokers;
        private final String topic;
        private final String group;
        private final Random random;
        private KafkaConsumer<String, String> consumer;

        Member(int number, String brokers, String topic, String group) {
            this.number = number;
            this.brokers = brokers;
            this.topic = topic;
            this.group = group;
            random = new Random(number);
        }

        @Override
        public void run() {
            while (!stop) {
                Map<String, Object> config = client(brokers);
                config.put("group.id", group);
                config.put("enable.auto.commit", "false");
                // Where it begins is what the group has committed, and nowhere else.
                config.put("auto.offset.reset", "none");
                config.put("session.timeout.ms", "4000");
                config.put("heartbeat.interval.ms", "500");
                config.put("default.api.timeout.ms", "8000");
                config.put("partition.assignment.strategy", RangeAssignor.class.getName());
                try {
                    consumer =
                        new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
                    work();
                } catch (RuntimeException error) {
                    say("note member " + number + ": " + error.toString().replace('\n', ' '));
                } finally {
                    close();
                }
            }
        }

        private void close() {
            try {
                consumer.close(Duration.ofSeconds(1));
            } catch (RuntimeException error) {
                say("note member " + number + ": " + error.toString().replace('\n', ' '));
            }
        }

        private void work() {
            consumer.subscribe(Collections.singletonList(topic), this);
            while (!stop) {
                ConsumerRecords<String, String> records = consumer.poll(POLL);
                for (ConsumerRecord<String, String> record : records) {
                    String[] value = record.value().split(" ", 3);
                    say("read " + number + " " + record.partition() + " " + record.offset() + " "
                        + value[0] + " " + value[1]);
                }
                if (records.isEmpty()) {
                    continue;
                }
                commit(records);
                if (random.nextInt(LEAVES) == 0) {
                    return;
                }
            }
        }

        private void commit(ConsumerRecords<String, String> records) {
            int generation = consumer.groupMetadata().generationId();
            Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
            Map<Integer, Long> next = new TreeMap<>();
            for (TopicPartition partition : records.partitions()) {
                List<ConsumerRecord<String, String>> its = records.records(partition);
                long offset = its.get(its.size() - 1).offset() + 1;
                offsets.put(partition, new OffsetAndMetadata(offset));
                next.put(partition.partition(), offset);
            }
            next.forEach((partition, offset) -> say(
                "commit " + number + " " + generation + " " + partition + " " + offset));
            try {
                consumer.commitSync(offsets);
            } catch (CommitFailedException | RebalanceInProgressException moved) {
                // The next poll joins again, and begins where the group is.
                return;
            } catch (RetriableException late) {
                // It may have been accepted, or not; the next one will say more.
                return;
            }
            next.forEach((partition, offset) -> say(
                "committed " + number + " " + generation + " " + partition + " " + offset));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            StringBuilder owned = new StringBuilder();
            for (TopicPartition partition : partitions) {
                owned.append(owned.length() == 0 ? "" : ",").append(partition.partition());
            }
            say("owns " + number + " " + consumer.groupMetadata().generationId() + " " + owned);
            for (TopicPartition partition : partitions) {
                say("ask " + number + " " + partition.partition());
                OffsetAndMetadata committed =
                    consumer.committed(Collections.singleton(partition)).get(partition);
                long offset = committed == null ? -1 : committed.offset();
                say("told " + number + " " + partition.partition() + " " + offset);
                // So that what is told is what is begun with.
                consumer.seek(partition, Math.max(offset, 0));
            }
        }
    }
}
