package cbpnet.app

import android.app.Activity
import android.app.AlertDialog
import android.net.Uri
import cbpnet.core.InputException
import java.io.IOException
import java.util.concurrent.Executors

private val background = Executors.newSingleThreadExecutor()

/** Shows a sentence. */
fun Activity.say(message: CharSequence) {
    if (isFinishing || isDestroyed) return
    AlertDialog.Builder(this).setMessage(message).setPositiveButton(R.string.ok, null).show()
}

/** Asks before something that cannot be undone; [verb] names it on the button. */
fun Activity.confirm(question: CharSequence, verb: Int, action: () -> Unit) {
    AlertDialog.Builder(this)
        .setMessage(question)
        .setNegativeButton(R.string.cancel, null)
        .setPositiveButton(verb) { _, _ -> action() }
        .show()
}

/** Works in the background; then does [after] on the main thread, or says what went wrong. */
fun Activity.inBackground(work: () -> Unit, after: () -> Unit) {
    background.execute {
        val trouble = try {
            work()
            null
        } catch (error: InputException) {
            error.message
        } catch (error: IOException) {
            getString(R.string.file_trouble, error.message)
        } catch (error: SecurityException) { // the file's owner has taken it back
            getString(R.string.file_trouble, error.message)
        }
        runOnUiThread {
            if (trouble == null && !isDestroyed) after()
            if (trouble != null) say(trouble)
        }
    }
}

/** The bytes of a document that a person has picked. */
fun Activity.readDocument(document: Uri): ByteArray =
    (contentResolver.openInputStream(document) ?: throw IOException(document.toString())).use { it.readBytes() }
