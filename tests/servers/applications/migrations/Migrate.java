import org.flywaydb.core.Flyway;

/** java Migrate.java URL FOLDER TARGET: applies Flyway's migrations of a folder up to a version. */
public class Migrate {
    public static void main(String[] arguments) {
        Flyway.configure()
                .dataSource(arguments[0], "postgres", "")
                .locations("filesystem:" + arguments[1])
                .target(arguments[2])
                .load()
                .migrate();
    }
}
