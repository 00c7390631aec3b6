import java.io.PrintWriter;
import java.io.StringWriter;

/** Runs named operations and prints one line for each: "@op", name, "ok", "cannot" or "FAIL", detail. */
final class Report {
    private Report() {}

    /** Something to try against the broker. */
    interface Operation {
        void run() throws Exception;
    }

    /** Thrown by an operation that this release of the client does not have. */
    static final class Cannot extends Exception {
        Cannot(String why) {
            super(why);
        }
    }

    static void run(String name, Operation operation) {
        long start = System.nanoTime();
        try {
            operation.run();
            print(name, "ok", (System.nanoTime() - start) / 1_000_000 + " ms");
        } catch (Cannot cannot) {
            print(name, "cannot", cannot.getMessage());
        } catch (Throwable error) {
            StringWriter trace = new StringWriter();
            error.printStackTrace(new PrintWriter(trace));
            System.err.println(trace);
            print(name, "FAIL", error.toString().replace('\n', ' '));
        }
    }

    /** Hands the number of records now in the topic to the phase after the restart. */
    static void state(int records) {
        System.out.println("@state\t" + records);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static void print(String name, String outcome, String detail) {
        System.out.println("@op\t" + name + "\t" + outcome + "\t" + detail);
        System.out.flush();
    }
}
