import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.Executors;
import org.apache.hadoop.conf.Configuration;
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
import org.apache.iceberg.rest.requests.CreateNamespaceRequest;
import org.apache.iceberg.rest.requests.CreateTableRequest;
import org.apache.iceberg.rest.requests.UpdateTableRequest;
import org.apache.iceberg.rest.responses.ErrorResponse;
import org.apache.iceberg.shaded.com.fasterxml.jackson.annotation.JsonAutoDetect;
import org.apache.iceberg.shaded.com.fasterxml.jackson.annotation.PropertyAccessor;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.DeserializationFeature;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.iceberg.shaded.com.fasterxml.jackson.databind.PropertyNamingStrategies;

/**
 * A REST catalog of Apache Iceberg's own classes: its handlers over its JdbcCatalog. Arguments: JDBC address, warehouse.
 * Prints its port.
 */
public class RestServer {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static JdbcCatalog catalog;

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
    catalog = new JdbcCatalog();
    catalog.setConf(new Configuration());
    catalog.initialize("default", properties);

    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 64);
    server.setExecutor(Executors.newFixedThreadPool(16));
    server.createContext("/v1/", RestServer::serve);
    server.start();
    System.out.println(server.getAddress().getPort());
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

  private static Object answer(HttpExchange exchange) throws IOException {
    String method = exchange.getRequestMethod();
    String[] parts = exchange.getRequestURI().getRawPath().substring("/v1/".length()).split("/");
    if (parts[0].equals("config")) {
      return Map.of("defaults", Map.of(), "overrides", Map.of());
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
      return request.stageCreate()
          ? CatalogHandlers.stageTableCreate(catalog, namespace, request)
          : CatalogHandlers.createTable(catalog, namespace, request);
    }
    if (parts.length > 4) {
      return null; // reports of metrics
    }
    TableIdentifier table = TableIdentifier.of(namespace, URLDecoder.decode(parts[3], StandardCharsets.UTF_8));
    switch (method) {
      case "POST":
        return CatalogHandlers.updateTable(catalog, table, body(exchange, UpdateTableRequest.class));
      case "DELETE":
        CatalogHandlers.dropTable(catalog, table);
        return null;
      default:
        return CatalogHandlers.loadTable(catalog, table);
    }
  }
}
