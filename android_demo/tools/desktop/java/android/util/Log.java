package android.util;

/** Android's log, on the error stream. */
public final class Log {
    private Log() {}

    public static int e(String tag, String message) {
        System.err.println(tag + ": " + message);
        return 0;
    }
}
