import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import kafka.api.ConsumerMetadataRequest;
import kafka.api.FetchRequestBuilder;
import kafka.api.PartitionOffsetRequestInfo;
import kafka.common.OffsetAndMetadata;
import kafka.common.OffsetMetadataAndError;
import kafka.common.TopicAndPartition;
import kafka.javaapi.ConsumerMetadataResponse;
import kafka.javaapi.FetchResponse;
import kafka.javaapi.OffsetCommitRequest;
import kafka.javaapi.OffsetCommitResponse;
import kafka.javaapi.OffsetFetchRequest;
import kafka.javaapi.OffsetRequest;
import kafka.javaapi.OffsetResponse;
import kafka.javaapi.consumer.SimpleConsumer;
import kafka.message.MessageAndOffset;
import kafka.network.BlockingChannel;

/** The simple consumer of 0.8.2 on one broker that leads and coordinates everything. */
final class Simple implements AutoCloseable {
    /** What is committed in each partition. */
    static final long[] COMMITTED = {7, 4};

    private static final String CLIENT = "simple";
    private static final int TIMEOUT_MS = 30_000;
    /** The version that keeps offsets in Kafka. */
    private static final short IN_KAFKA = 1;

    private final Target target;
    private final SimpleConsumer consumer;

    Simple(Target target) {
        this.target = target;
        this.consumer = new SimpleConsumer(target.host(), target.port(), TIMEOUT_MS, 1 << 20, CLIENT);
    }

    /** One record as it was read. */
    static final class Read {
        final long offset;
        final String value;
        private final String key;

        Read(MessageAndOffset message) {
            offset = message.offset();
            key = message.message().hasKey() ? text(message.message().key()) : "null";
            value = text(message.message().payload());
        }

        private static String text(ByteBuffer bytes) {
            byte[] copy = new byte[bytes.remaining()];
            bytes.duplicate().get(copy);
            return new String(copy, StandardCharsets.UTF_8);
        }

        @Override
        public String toString() {
            return key + "=" + value;
        }
    }

    /** The earliest offset for a time of -2, the end for -1. */
    long offsetAt(String topic, int partition, long time) {
        TopicAndPartition which = new TopicAndPartition(topic, partition);
        Map<TopicAndPartition, PartitionOffsetRequestInfo> asked =
            Collections.singletonMap(which, new PartitionOffsetRequestInfo(time, 1));
        OffsetResponse answer = consumer.getOffsetsBefore(new OffsetRequest(asked, (short) 0, CLIENT));
        Report.check(!answer.hasError(), "error " + answer.errorCode(topic, partition));
        return answer.offsets(topic, partition)[0];
    }

    /** At least this many records from an offset on; a compressed set may begin below it. */
    List<Read> read(String topic, int partition, long offset, int atLeast) {
        List<Read> records = new ArrayList<>();
        long next = offset;
        long end = System.currentTimeMillis() + TIMEOUT_MS;
        while (records.size() < atLeast) {
            Report.check(System.currentTimeMillis() < end, records.size() + " records in time");
            FetchResponse answer = consumer.fetch(new FetchRequestBuilder()
                .clientId(CLIENT).addFetch(topic, partition, next, 1 << 20).maxWait(500).build());
            Report.check(!answer.hasError(), "error " + answer.errorCode(topic, partition));
            for (MessageAndOffset message : answer.messageSet(topic, partition)) {
                if (message.offset() >= next) {
                    records.add(new Read(message));
                    next = message.nextOffset();
                }
            }
        }
        return records;
    }

    void commit() throws Exception {
        await("the coordinator", this::coordinates);
        Map<TopicAndPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (int partition = 0; partition < COMMITTED.length; partition++) {
            long now = System.currentTimeMillis();
            offsets.put(new TopicAndPartition(target.topic, partition),
                new OffsetAndMetadata(COMMITTED[partition], "", now));
        }
        OffsetCommitResponse answer = consumer.commitOffsets(
            new OffsetCommitRequest(target.group, offsets, 1, CLIENT, IN_KAFKA));
        Report.check(!answer.hasError(), "errors " + answer.errors());
    }

    long committed(int partition) throws Exception {
        await("the coordinator", this::coordinates);
        TopicAndPartition which = new TopicAndPartition(target.topic, partition);
        long[] found = new long[1];
        await("the offsets to be loaded", () -> {
            OffsetMetadataAndError answer = consumer
                .fetchOffsets(new OffsetFetchRequest(
                    target.group, Collections.singletonList(which), IN_KAFKA, 2, CLIENT))
                .offsets().get(which);
            found[0] = answer.offset();
            return answer.error() == 0;
        });
        return found[0];
    }

    private boolean coordinates() {
        BlockingChannel channel =
            new BlockingChannel(target.host(), target.port(), 1 << 16, 1 << 16, TIMEOUT_MS);
        channel.connect();
        try {
            channel.send(new ConsumerMetadataRequest(target.group, (short) 0, 3, CLIENT));
            ConsumerMetadataResponse answer =
                ConsumerMetadataResponse.readFrom(channel.receive().buffer());
            return answer.errorCode() == 0 && answer.coordinator().port() == target.port();
        } finally {
            channel.disconnect();
        }
    }

    void await(String what, Callable<Boolean> holds) throws Exception {
        long end = System.currentTimeMillis() + TIMEOUT_MS;
        while (!holds.call()) {
            Report.check(System.currentTimeMillis() < end, "waited in vain for " + what);
            Thread.sleep(20);
        }
    }

    @Override
    public void close() {
        consumer.close();
    }
}
