// A genuine Neo4j Community in one process, for tests: `java -cp 'lib/*' Neo4jServer.java FOLDER PORT PAGE_CACHE_MB`.
// The password of user neo4j is read from the first line of standard input. Prints "ready VERSION" when Bolt answers;
// ends when standard input ends, so that it never outlives the tests.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.neo4j.configuration.GraphDatabaseSettings;
import org.neo4j.configuration.connectors.BoltConnector;
import org.neo4j.configuration.helpers.SocketAddress;
import org.neo4j.dbms.api.DatabaseManagementService;
import org.neo4j.dbms.api.DatabaseManagementServiceBuilder;
import org.neo4j.kernel.internal.Version;

public class Neo4jServer {
    public static void main(String[] args) throws Exception {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in));
        String password = input.readLine();
        DatabaseManagementService server = new DatabaseManagementServiceBuilder(Path.of(args[0]))
                .setConfig(BoltConnector.enabled, true)
                .setConfig(BoltConnector.listen_address, new SocketAddress("127.0.0.1", Integer.parseInt(args[1])))
                .setConfig(GraphDatabaseSettings.auth_enabled, true)
                .setConfig(GraphDatabaseSettings.pagecache_memory, Long.parseLong(args[2]) * 1024 * 1024)
                .build();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        Path alreadySet = Path.of(args[0], "password-is-set"); // a server that starts again refuses the password it has
        if (!Files.exists(alreadySet)) {
            server.database("system").executeTransactionally(
                    "ALTER USER neo4j SET PASSWORD $password CHANGE NOT REQUIRED", Map.of("password", password));
            Files.createFile(alreadySet);
        }
        System.out.println("ready " + Version.getNeo4jVersion());
        System.out.flush();
        while (input.readLine() != null) {}
        System.exit(0);
    }
}
