package cbpnet.app

import android.content.SharedPreferences

/** What a person has set, kept on the phone. */
class Settings(private val stored: SharedPreferences) {
    /** Threads of the runtime; 0 leaves the choice to it. */
    var threads: Int
        get() = stored.getInt("threads", 0)
        set(value) = stored.edit().putInt("threads", value).apply()

    /** Passes over the pictures of a lesson that trains prompts; 0 leaves the choice to the bundle. */
    var epochs: Int
        get() = stored.getInt("epochs", 0)
        set(value) = stored.edit().putInt("epochs", value).apply()

    companion object {
        val THREAD_CHOICES = listOf(0, 1, 2, 4, 8)
        val EPOCH_CHOICES = listOf(0, 1, 3, 5, 10, 20)
    }
}
