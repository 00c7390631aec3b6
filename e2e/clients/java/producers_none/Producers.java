/** Stands for the description of producers that this release does not have. */
final class Producers {
    private Producers() {}

    static void describe(Target target) throws Report.Cannot {
        throw new Report.Cannot("producers are described from 3.0 on");
    }
}
