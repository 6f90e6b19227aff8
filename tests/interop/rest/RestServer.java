import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.UpdateRequirement;
import org.apache.iceberg.catalog.Namespace;
import org.apache.iceberg.catalog.TableIdentifier;
import org.apache.iceberg.exceptions.AlreadyExistsException;
import org.apache.iceberg.exceptions.CommitFailedException;
import org.apache.iceberg.exceptions.NoSuchNamespaceException;
import org.apache.iceberg.exceptions.NoSuchTableException;
import org.apache.iceberg.exceptions.ValidationException;
import org.apache.iceberg.jdbc.JdbcCatalog;
import org.apache.iceberg.rest.CatalogHandlers;
import org.apache.iceberg.rest.RESTSerializers;
import org.apache.iceberg.rest.RESTUtil;
import org.apache.iceberg.rest.credentials.Credential;
import org.apache.iceberg.rest.credentials.ImmutableCredential;
import org.apache.iceberg.rest.requests.CreateNamespaceRequest;
import org.apache.iceberg.rest.requests.CreateTableRequest;
import org.apache.iceberg.rest.requests.UpdateTableRequest;
import org.apache.iceberg.rest.responses.ErrorResponse;
import org.apache.iceberg.rest.responses.ImmutableLoadCredentialsResponse;
import org.apache.iceberg.rest.responses.LoadTableResponse;
import org.apache.iceberg.shaded.com.fasterxml.jackson.annotation.JsonAutoDetect;
import org.apache.iceberg.shaded.com.fasterxml.jackson.annotation.PropertyAccessor;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.PropertyNamingStrategies;

/**
 * A REST catalog of Apache Iceberg's own classes: its handlers over its JdbcCatalog. Arguments: JDBC address, warehouse, and
 * properties of the catalog as NAME=VALUE. Prints its port.
 *
 * <p>Properties {@code table.NAME=VALUE} are given with every table as its configuration. With {@code lend=MILLISECONDS} keys
 * for a table's files are given too, good for so long; their token says what they are good for, so that whoever stands before
 * the storage can judge them.
 *
 * <p>{@code POST /together?N}: the next N commits wait until all of them are there, and then go on at once. With
 * {@code ?N&us} or {@code ?N&them} those of ddb-iceberg, or those of everybody else, are answered before the others go on.
 * {@code GET /commits} tells of all commits since then, in the order of their answers: by whom, on which snapshot, and the status.
 */
public class RestServer {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final AtomicInteger LENT = new AtomicInteger();
  private static final Map<String, String> OF_TABLES = new HashMap<>();
  private static final String TABLE = "/v1/{prefix}/namespaces/{namespace}/tables/{table}";
  private static JdbcCatalog catalog;
  private static long lends;
  private static final List<Map<String, Object>> COMMITS = Collections.synchronizedList(new ArrayList<>());
  private static volatile CountDownLatch together = new CountDownLatch(0);
  private static volatile CountDownLatch turn = new CountDownLatch(0);
  private static volatile String first;

  public static void main(String[] arguments) throws IOException {
    MAPPER.setVisibility(PropertyAccessor.FIELD, JsonAutoDetect.Visibility.ANY);
    MAPPER.configure(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES, false);
    MAPPER.setPropertyNamingStrategy(new PropertyNamingStrategies.KebabCaseStrategy());
    RESTSerializers.registerAll(MAPPER);

    Map<String, String> properties = new HashMap<>();
    properties.put("uri", arguments[0]);
    properties.put("warehouse", arguments[1]);
    properties.put("jdbc.schema-version", "V1");
    properties.put("clients", "1");
    for (String argument : Arrays.copyOfRange(arguments, 2, arguments.length)) {
      String[] given = argument.split("=", 2);
      if (given[0].equals("lend")) {
        lends = Long.parseLong(given[1]);
      } else if (given[0].startsWith("table.")) {
        OF_TABLES.put(given[0].substring("table.".length()), given[1]);
      } else {
        properties.put(given[0], given[1]);
      }
    }
    catalog = new JdbcCatalog();
    catalog.setConf(new Configuration());
    catalog.initialize("default", properties);

    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 64);
    server.setExecutor(Executors.newFixedThreadPool(16));
    server.createContext("/v1/", RestServer::serve);
    server.createContext("/together", RestServer::bringTogether);
    server.createContext("/commits", RestServer::tell);
    server.start();
    System.out.println(server.getAddress().getPort());
  }

  private static void bringTogether(HttpExchange exchange) throws IOException {
    String[] asked = exchange.getRequestURI().getQuery().split("&");
    COMMITS.clear();
    first = asked.length > 1 ? asked[1] : null;
    turn = new CountDownLatch(first == null ? 0 : 1);
    together = new CountDownLatch(Integer.parseInt(asked[0]));
    exchange.sendResponseHeaders(204, -1);
    exchange.close();
  }

  private static void tell(HttpExchange exchange) throws IOException {
    byte[] answer = MAPPER.writeValueAsBytes(List.copyOf(COMMITS));
    exchange.getResponseHeaders().set("content-type", "application/json");
    exchange.sendResponseHeaders(200, answer.length);
    exchange.getResponseBody().write(answer);
    exchange.close();
  }

  private static void waitFor(CountDownLatch others) throws InterruptedException {
    if (!others.await(60, TimeUnit.SECONDS)) {
      throw new IllegalStateException("the other commits have not come");
    }
  }

  private static Object commit(HttpExchange exchange, TableIdentifier table) throws IOException, InterruptedException {
    UpdateTableRequest request = body(exchange, UpdateTableRequest.class);
    String agent = exchange.getRequestHeaders().getFirst("user-agent");
    String by = agent != null && agent.startsWith("ddb-iceberg/") ? "us" : "them";
    CountDownLatch others = together;
    others.countDown();
    waitFor(others);
    if (first != null && !first.equals(by)) {
      waitFor(turn);
    }
    Map<String, Object> told = new HashMap<>(Map.of("by", by));
    for (UpdateRequirement requirement : request.requirements()) {
      if (requirement instanceof UpdateRequirement.AssertRefSnapshotID) {
        told.put("base", ((UpdateRequirement.AssertRefSnapshotID) requirement).snapshotId());
      }
    }
    try {
      Object result = CatalogHandlers.updateTable(catalog, table, request);
      told.put("status", 200);
      return result;
    } catch (RuntimeException e) {
      told.put("status", status(e));
      throw e;
    } finally {
      COMMITS.add(told);
      turn.countDown();
    }
  }

  /** A table with its configuration and keys. */
  private static LoadTableResponse with(LoadTableResponse table) {
    return LoadTableResponse.builder()
        .withTableMetadata(table.tableMetadata())
        .addAllConfig(table.config())
        .addAllConfig(OF_TABLES)
        .addAllCredentials(keys(table.tableMetadata().location()))
        .build();
  }

  private static List<Credential> keys(String location) {
    if (lends == 0) {
      return List.of();
    }
    String id = "LENT" + LENT.incrementAndGet();
    String until = Long.toString(System.currentTimeMillis() + lends);
    String token = String.join("\n", id, until, location);
    return List.of(
        ImmutableCredential.builder()
            .prefix(location)
            .putConfig("s3.access-key-id", id)
            .putConfig("s3.secret-access-key", "hush-" + id)
            .putConfig("s3.session-token", Base64.getEncoder().encodeToString(token.getBytes(StandardCharsets.UTF_8)))
            .putConfig("s3.session-token-expires-at-ms", until)
            .build());
  }

  private static void serve(HttpExchange exchange) throws IOException {
    int status = 200;
    byte[] answer;
    try {
      Object result = answer(exchange);
      answer = result == null ? null : MAPPER.writeValueAsBytes(result);
      status = result == null ? 204 : 200;
    } catch (Exception e) {
      status = status(e);
      ErrorResponse error =
          ErrorResponse.builder()
              .responseCode(status)
              .withType(e.getClass().getSimpleName())
              .withMessage(e.getMessage())
              .build();
      answer = MAPPER.writeValueAsBytes(error);
    }
    exchange.getResponseHeaders().set("content-type", "application/json");
    boolean empty = answer == null || exchange.getRequestMethod().equals("HEAD");
    exchange.sendResponseHeaders(status, empty ? -1 : answer.length);
    if (!empty) {
      exchange.getResponseBody().write(answer);
    }
    exchange.close();
  }

  private static int status(Exception e) {
    if (e instanceof NoSuchTableException || e instanceof NoSuchNamespaceException) {
      return 404;
    }
    if (e instanceof AlreadyExistsException || e instanceof CommitFailedException) {
      return 409;
    }
    return e instanceof ValidationException || e instanceof IllegalArgumentException ? 400 : 500;
  }

  private static <T> T body(HttpExchange exchange, Class<T> type) throws IOException {
    try (InputStream body = exchange.getRequestBody()) {
      return MAPPER.readValue(body, type);
    }
  }

  private static Object answer(HttpExchange exchange) throws IOException, InterruptedException {
    String method = exchange.getRequestMethod();
    String[] parts = exchange.getRequestURI().getRawPath().substring("/v1/".length()).split("/");
    if (parts[0].equals("config")) {
      Map<String, Object> config = new HashMap<>(Map.of("defaults", Map.of(), "overrides", Map.of()));
      if (lends != 0) {
        config.put(
            "endpoints",
            List.of(
                "GET /v1/{prefix}/namespaces",
                "POST /v1/{prefix}/namespaces",
                "GET /v1/{prefix}/namespaces/{namespace}",
                "GET /v1/{prefix}/namespaces/{namespace}/tables",
                "POST /v1/{prefix}/namespaces/{namespace}/tables",
                "GET " + TABLE,
                "POST " + TABLE,
                "DELETE " + TABLE,
                "GET " + TABLE + "/credentials"));
      }
      return config;
    }
    if (!parts[0].equals("namespaces")) {
      throw new NoSuchTableException("no such path");
    }
    if (parts.length == 1) {
      return method.equals("POST")
          ? CatalogHandlers.createNamespace(catalog, body(exchange, CreateNamespaceRequest.class))
          : CatalogHandlers.listNamespaces(catalog, Namespace.empty());
    }
    Namespace namespace = RESTUtil.decodeNamespace(parts[1]);
    if (parts.length == 2) {
      return CatalogHandlers.loadNamespace(catalog, namespace);
    }
    if (parts.length == 3) {
      if (!method.equals("POST")) {
        return CatalogHandlers.listTables(catalog, namespace);
      }
      CreateTableRequest request = body(exchange, CreateTableRequest.class);
      request.validate();
      return with(
          request.stageCreate()
              ? CatalogHandlers.stageTableCreate(catalog, namespace, request)
              : CatalogHandlers.createTable(catalog, namespace, request));
    }
    TableIdentifier table = TableIdentifier.of(namespace, URLDecoder.decode(parts[3], StandardCharsets.UTF_8));
    if (parts.length > 4 && parts[4].equals("credentials")) {
      String location = CatalogHandlers.loadTable(catalog, table).tableMetadata().location();
      return ImmutableLoadCredentialsResponse.builder().addAllCredentials(keys(location)).build();
    }
    if (parts.length > 4) {
      return null; // reports of metrics
    }
    switch (method) {
      case "POST":
        return commit(exchange, table);
      case "DELETE":
        CatalogHandlers.dropTable(catalog, table);
        return null;
      default:
        return with(CatalogHandlers.loadTable(catalog, table));
    }
  }
}
