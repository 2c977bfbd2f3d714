package com.facebook.jni;

import java.lang.ref.Cleaner;

/** A Java object's hold on its C++ half; libfbjni.so fills the pointer and frees it. */
public class HybridData {
    private static final Cleaner CLEANER = Cleaner.create();
    private final Destructor mDestructor = new Destructor();

    public HybridData() {
        CLEANER.register(this, mDestructor::free);
    }

    public boolean isValid() {
        return mDestructor.mNativePointer != 0;
    }

    public void resetNative() {
        mDestructor.free();
    }

    /** Found by name from C++. */
    public static final class Destructor {
        private long mNativePointer;

        private synchronized void free() {
            deleteNative(mNativePointer);
            mNativePointer = 0;
        }

        private static native void deleteNative(long pointer);
    }
}
