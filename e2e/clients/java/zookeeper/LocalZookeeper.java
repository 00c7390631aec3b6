import java.io.File;
import java.net.InetSocketAddress;
import org.apache.zookeeper.server.NIOServerCnxnFactory;
import org.apache.zookeeper.server.ServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/**
 * One ZooKeeper server on a port that the kernel chooses; argument: its directory.
 *
 * <p>ZooKeeper's own main class takes a port of 0 to mean "no port".
 */
public final class LocalZookeeper {
    private LocalZookeeper() {}

    public static void main(String[] args) throws Exception {
        File directory = new File(args[0]);
        ZooKeeperServer server = new ZooKeeperServer(directory, directory, 2_000);
        ServerCnxnFactory connections = new NIOServerCnxnFactory();
        connections.configure(new InetSocketAddress("127.0.0.1", 0), 200);
        connections.startup(server);
        System.out.println("@zookeeper\t" + connections.getLocalPort());
        System.out.flush();
        connections.join();
    }
}
