package com.facebook.soloader.nativeloader;

import java.nio.file.Path;

/** Loads Android's library on the desktop, after the C library that stands in for Android's. */
public final class NativeLoader {
    private static boolean initialised;

    private NativeLoader() {}

    public static boolean isInitialized() {
        return initialised;
    }

    public static void init(NativeLoaderDelegate delegate) {
        initialised = true;
    }

    public static boolean loadLibrary(String name) {
        Path folder = Path.of(System.getenv("LD_LIBRARY_PATH"));
        for (String library : new String[] {"c", "fbjni", name}) {
            System.load(folder.resolve("lib" + library + ".so").toString());
        }
        return true;
    }
}
