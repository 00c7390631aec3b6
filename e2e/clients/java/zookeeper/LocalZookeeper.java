import java.io.File;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.ZooDefs;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.server.NIOServerCnxnFactory;
import org.apache.zookeeper.server.ServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/**
 * One ZooKeeper server on a port that the kernel chooses; arguments: its directory, and a file of
 * nodes to begin with, parents first, a path, a tab and the data in hexadecimal on each line.
 *
 * <p>ZooKeeper's own main class takes a port of 0 to mean "no port".
 */
public final class LocalZookeeper {
    private LocalZookeeper() {}

    public static void main(String[] args) throws Exception {
        // Who watches what.
        System.setProperty("zookeeper.4lw.commands.whitelist", "srvr,wchp");
        File directory = new File(args[0]);
        ZooKeeperServer server = new ZooKeeperServer(directory, directory, 2_000);
        ServerCnxnFactory connections = new NIOServerCnxnFactory();
        connections.configure(new InetSocketAddress("127.0.0.1", 0), 200);
        connections.startup(server);
        if (args.length > 1) {
            load(connections.getLocalPort(), new File(args[1]));
        }
        System.out.println("@zookeeper\t" + connections.getLocalPort());
        System.out.flush();
        connections.join();
    }

    private static void load(int port, File nodes) throws Exception {
        ZooKeeper client = new ZooKeeper("127.0.0.1:" + port, 30_000, event -> {});
        for (String line : Files.readAllLines(nodes.toPath())) {
            int tab = line.indexOf('\t');
            byte[] data = new byte[(line.length() - tab - 1) / 2];
            for (int i = 0; i < data.length; i++) {
                data[i] = (byte) Integer.parseInt(line.substring(tab + 1 + 2 * i, tab + 3 + 2 * i), 16);
            }
            String path = line.substring(0, tab);
            try {
                client.create(path, data, ZooDefs.Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            } catch (KeeperException.NodeExistsException there) {
                client.setData(path, data, -1);
            }
        }
        client.close();
    }
}
