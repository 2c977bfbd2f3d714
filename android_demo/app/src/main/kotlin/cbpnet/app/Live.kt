package cbpnet.app

import android.os.Handler
import android.os.Looper

/** A value that a screen shows: it hears of every new one, on the main thread, while it observes. */
class Live<T>(first: T) {
    @Volatile
    var value: T = first
        private set
    private val main = Handler(Looper.getMainLooper())
    private val observers = mutableListOf<(T) -> Unit>()

    /** Changes the value; from any thread. */
    fun set(new: T) {
        value = new
        main.post { observers.toList().forEach { it(value) } }
    }

    /** Tells [observer] the value now and whenever it changes; on the main thread. */
    fun observe(observer: (T) -> Unit) {
        observers += observer
        observer(value)
    }

    /** Ends what [observe] began. */
    fun ignore(observer: (T) -> Unit) {
        observers -= observer
    }
}
