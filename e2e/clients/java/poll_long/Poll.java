import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** The consumer's calls whose shape changed, as releases before 2.0 have them. */
final class Poll {
    private Poll() {}

    static ConsumerRecords<String, String> poll(KafkaConsumer<String, String> consumer, long ms) {
        return consumer.poll(ms);
    }

    static OffsetAndMetadata committed(KafkaConsumer<String, String> consumer, TopicPartition partition) {
        return consumer.committed(partition);
    }

    static int generation(KafkaConsumer<String, String> consumer) {
        return -1;
    }

    static void needStaticMembers() throws Report.Cannot {
        throw new Report.Cannot("static members came with 2.3");
    }
}
