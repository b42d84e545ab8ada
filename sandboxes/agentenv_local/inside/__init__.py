"""What runs on the far side: the zygote, and in every sandbox a warden and the programs it starts.

These processes are forked thousands of times and must hold no secret, so they import nothing of agentenv but this
package and its jail, and read nothing but their socket.
"""
